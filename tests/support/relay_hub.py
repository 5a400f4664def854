"""A hub that takes relays, in the test's own event loop, with short times where a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from resource_server.adapters.redeemed_files import RedeemedFiles
from resource_server.adapters.relay import Gatekeeper, Links, RelayBackend, RelayListener
from resource_server.adapters.relay.doubts import Patience
from resource_server.adapters.relay.listener import ListenerTimes
from resource_server.adapters.relay.sessions import Sessions
from resource_server.adapters.relay.shares import HubLimits
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.inference import InferenceRequest
from tests.support.relay_double import Dialler
from tests.support.relay_site import FRAMEWORK, MODEL, PATH, RelaySite, catalog_of

SECRET = b"s" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHub:
    """What tests ask of a hub, and what dials it."""

    links: Links
    backend: RelayBackend
    port: int
    dialler: Dialler


@asynccontextmanager
async def relay_hub(  # noqa: PLR0913 - each test sets one of them
    catalog: Catalog | Callable[[], Catalog | None],
    folder: Path,
    *,
    port: int = 0,
    secret: bytes = SECRET,
    resume_within_s: float = 30.0,
    doubted_s: float = 30.0,
    session_s: float = 3600.0,
    times: ListenerTimes | None = None,
    most_answer: int = 64 * 1024 * 1024,
    margin_s: float = 5.0,
    limits: HubLimits | None = None,
) -> AsyncIterator[RelayHub]:
    """Listen for relays of the catalog's clusters; used credentials are kept in a folder."""
    patience = Patience(resume_s=resume_within_s, doubted_s=doubted_s)
    links = Links(patience=patience, limits=limits or HubLimits())
    current = catalog if callable(catalog) else lambda: catalog
    gatekeeper = Gatekeeper(
        current, RedeemedFiles(folder / "redeemed"), Sessions(secret, life_s=session_s)
    )
    async with (
        RelayListener(
            links,
            gatekeeper,
            host="127.0.0.1",
            port=port,
            times=times or ListenerTimes(grace_s=0.2, keep_s=0.05),
        ) as listener,
        Dialler.to(listener.port) as dialler,
    ):
        yield RelayHub(
            links=links,
            backend=RelayBackend(links, most_answer=most_answer, margin_s=margin_s),
            port=listener.port,
            dialler=dialler,
        )


def asking(
    body: bytes = b'{"n": 1}', *, timeout_s: float = 30.0, affinity: str = "", path: str = PATH
) -> InferenceRequest:
    """Return a request for the model that the relays of tests serve."""
    return InferenceRequest(
        request_id="r",
        framework=FRAMEWORK,
        model=MODEL,
        path=path,
        body=body,
        timeout_s=timeout_s,
        affinity=affinity,
    )


def cluster_of(site: RelaySite) -> Cluster:
    """Return a site's cluster as requests carry it."""
    return catalog_of(site).cluster(site.cluster)
