"""The relays of sites: where they dial in, and the backend that sends requests to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.adapters.redeemed_files import RedeemedFiles
from resource_server.adapters.redis.connection import open_redis
from resource_server.adapters.redis.redeemed import RedeemedEverywhere, RedisRedeemed
from resource_server.adapters.relay import Gatekeeper, Links, RelayBackend, RelayListener
from resource_server.adapters.relay.sessions import Sessions
from resource_server.adapters.site_link import SiteLinks
from resource_server.config import SettingInvalid, Settings
from resource_server.domain.catalog import Catalog
from resource_server.ports import RedeemedCredentials
from resource_server.services.catalog import LiveCatalog
from resource_server.services.site_board import SiteBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Relays:
    """What dials in: the backend over relays, and the links of sites' agents."""

    backend: RelayBackend
    agents: SiteLinks


@asynccontextmanager
async def open_relays(
    settings: Settings,
    catalog: LiveCatalog,
    instrumentation: Instrumentation,
    *,
    board: SiteBoard,
    routes: Iterable[web.AbstractRouteDef] = (),
) -> AsyncIterator[Relays]:
    """Listen for relays and agents of the catalog's clusters.

    Raises `SettingInvalid` if that cannot be. `routes` are what else sites reach at the same
    address.
    """
    links = Links()
    board.relays, links.changed = links, board.note_relay

    def current() -> Catalog | None:
        return catalog.current() if catalog.checked_at else None

    async with _open_redeemed(settings) as redeemed, AsyncExitStack() as stack:
        sessions = Sessions(settings.read_secret_key().encode())
        gatekeeper = Gatekeeper(current, redeemed, sessions)
        agents = SiteLinks(board, gatekeeper)
        listener = RelayListener(
            links,
            gatekeeper,
            host=settings.relay_host,
            port=settings.relay_port,
            routes=(*routes, *agents.routes()),
        )
        try:
            await stack.enter_async_context(listener)
        except OSError as error:
            raise SettingInvalid(
                f"cannot listen for relays at {settings.relay_host}:{settings.relay_port}: {error}"
            ) from error
        await stack.enter_async_context(agents)
        instrumentation.watch_relays(links.health, catalog.current)
        yield Relays(backend=RelayBackend(links), agents=agents)


@asynccontextmanager
async def _open_redeemed(settings: Settings) -> AsyncIterator[RedeemedCredentials]:
    own = RedeemedFiles(settings.state_dir / "redeemed")
    url = settings.read_redis_url()
    if url is None:
        yield own
        return
    async with open_redis(url, use="relays") as redis:
        yield RedeemedEverywhere(RedisRedeemed(redis), own)
