"""Every seam of the gateway on one page: what the services need from the outside world."""

from __future__ import annotations

from typing import Protocol

from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.identity import Grant
from resource_server.domain.inference import InferenceAnswer, InferenceRequest
from resource_server.domain.lifecycle import Observation


class IdentityProvider(Protocol):
    """Who can say whom a token belongs to."""

    async def identify(self, token: str, *, known: bool = False) -> Grant:
        """Return the grant behind a token that passes every check.

        A token that is `known`, because it was good before, does not wait behind new ones.
        Raises `Unauthenticated` for a token that is no good here, `Forbidden` for a person the
        service does not admit, `IdentityServiceUnavailable` if the provider could not be asked,
        and `IdentityServiceBusy` if too many others were.
        """

    async def available(self) -> bool:
        """Tell whether the provider answers right now."""


class InferenceBackend(Protocol):
    """What carries a request to a cluster."""

    async def infer(self, cluster: Cluster, request: InferenceRequest) -> InferenceAnswer:
        """Return the engine's answer, whatever its status.

        Raises an `UpstreamError` if no engine answered, and `PayloadTooLarge` if the transport
        cannot carry the body. One request's failure or timeout harms no other.
        """


class SiteObserver(Protocol):
    """What can say which instances a cluster runs."""

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; raises an `UpstreamError` if it cannot be asked."""


class CatalogStore(Protocol):
    """Where the catalog is kept."""

    async def available(self) -> bool:
        """Tell whether the store answers right now."""

    async def version(self) -> int:
        """Return a number that grows with every change."""

    async def load(self) -> Catalog:
        """Return a snapshot of everything on offer."""


class CatalogSource(Protocol):
    """What operators edit, and what brings it into the store."""

    async def sync(self) -> bool:
        """Bring changed files into the store; tell whether anything changed.

        Raises `CatalogInvalid`, and leaves the store as it was, if the files hold mistakes.
        """
