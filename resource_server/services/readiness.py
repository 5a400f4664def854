"""Tells whether the gateway is fit to serve."""

from __future__ import annotations

import asyncio

from resource_server.ports import CatalogStore, IdentityProvider


class Readiness:
    """Asks the parts without which no request can be served."""

    def __init__(self, store: CatalogStore, identity: IdentityProvider) -> None:
        self._store = store
        self._identity = identity

    async def check(self) -> dict[str, bool]:
        """Return for each part whether it answers."""
        database, globus_auth = await asyncio.gather(
            self._store.available(), self._identity.available()
        )
        return {"database": database, "globus_auth": globus_auth}
