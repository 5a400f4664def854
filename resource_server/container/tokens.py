"""Who callers are, whether they are let in, and where this is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resource_server.adapters.catalog_access import AccessSpec
from resource_server.adapters.globus_auth import GlobusAuth
from resource_server.adapters.memory.grants import MemoryGrants
from resource_server.adapters.redis.connection import RedisLink, open_redis
from resource_server.adapters.redis.grants import RedisGrants
from resource_server.config import Settings, read_client
from resource_server.domain.catalog import AccessRule
from resource_server.ports import IdentityProvider
from resource_server.services.catalog import LiveCatalog
from resource_server.services.entrance import Entrance
from resource_server.services.tokens import Tokens

#: A question to Globus keeps other processes from asking it for so much longer than its timeout
#: (seconds).
CLAIM_SPARE_S = 2.0


def open_globus_auth(settings: Settings) -> GlobusAuth:
    """Return what knows whose a token is; to be entered. Raises `SettingInvalid`."""
    client = read_client(settings.globus_client_file)
    return GlobusAuth(
        client_id=client.client_id,
        client_secret=client.client_secret.get_secret_value(),
        scope=settings.globus_scope or _default_scope(client.client_id),
        timeout_s=settings.globus_timeout_s,
    )


@asynccontextmanager
async def open_grants_link(settings: Settings) -> AsyncIterator[RedisLink | None]:
    """Open the way to what all processes know of tokens, if they share it."""
    url = settings.read_redis_url()
    if url is None:
        yield None
        return
    async with open_redis(url, use="tokens") as redis:
        yield redis


def make_tokens(
    settings: Settings,
    provider: IdentityProvider,
    *,
    redis: RedisLink | None,
    catalog: LiveCatalog,
) -> Tokens:
    """Return what turns tokens into people."""
    return Tokens(
        provider,
        entrance=Entrance(service_rule(settings), catalog.current),
        cache=RedisGrants(redis) if redis else MemoryGrants(),
        key=settings.read_secret_key().encode(),
        ttl_s=settings.token_cache_s,
        claim_ttl_s=settings.globus_timeout_s + CLAIM_SPARE_S,
    )


def service_rule(settings: Settings) -> AccessRule:
    """Return who may use the service at all."""
    return AccessSpec(
        groups=settings.globus_groups,
        domains=settings.globus_domains,
        groups_by_domain=settings.globus_groups_by_domain,
        policies=settings.globus_policies,
        login_max_age_s=settings.login_max_age_s,
        service_accounts=settings.globus_service_accounts,
        domains_of=settings.globus_domains_of,
    ).to_domain()


def _default_scope(client_id: str) -> str:
    """Return the scope that callers' tokens carry for the gateway's own Globus client."""
    return f"https://auth.globus.org/scopes/{client_id}/action_all"
