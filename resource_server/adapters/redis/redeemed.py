"""Used credentials in Redis, for the hubs of all hosts."""

from __future__ import annotations

import time

from resource_server.adapters.redeemed_files import digest
from resource_server.adapters.redis.connection import NotAnswered, RedisLink
from resource_server.domain import errors
from resource_server.ports import RedeemedCredentials


class RedisRedeemed:
    """A `ports.RedeemedCredentials` in Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def redeem(self, cluster: str, name: str, *, expires_at: float) -> bool:
        """Take a credential; tell whether it was unused."""
        key = f"hotnode:relay-credential:{digest(cluster, name)}"
        left_ms = max(1, round(1000 * (expires_at - time.time())))
        try:
            async with self._link.asked():
                return bool(await self._link.client.set(key, b"1", nx=True, px=left_ms))
        except NotAnswered as error:
            raise errors.CredentialsUnknown(f"Redis: {error}") from error


class RedeemedEverywhere:
    """Takes a credential in two places: one for all hosts, and one that no restart forgets.

    Redis may keep nothing on a disk, as ours does not: what this host took it knows by itself.
    """

    def __init__(self, shared: RedeemedCredentials, own: RedeemedCredentials) -> None:
        self._shared = shared
        self._own = own

    async def redeem(self, cluster: str, name: str, *, expires_at: float) -> bool:
        """Take a credential; tell whether it was unused in both places."""
        # The shared place first: while it is away, nothing is used up here.
        return await self._shared.redeem(
            cluster, name, expires_at=expires_at
        ) and await self._own.redeem(cluster, name, expires_at=expires_at)
