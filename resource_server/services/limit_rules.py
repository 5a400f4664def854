"""The rules about limits in memory, kept up to date with what operators write."""

from __future__ import annotations

import asyncio
import logging

from resource_server.domain import errors
from resource_server.domain.limit_rules import LimitRules
from resource_server.ports import LimitSource

log = logging.getLogger(__name__)


class LiveLimitRules:
    """Holds the rules that count now."""

    def __init__(self, source: LimitSource) -> None:
        self._source = source
        self._current = LimitRules()

    def current(self) -> LimitRules:
        """Return the rules of this moment."""
        return self._current

    async def start(self) -> None:
        """Load the rules for the first time; raises `CatalogInvalid` if they hold mistakes."""
        await self.refresh()

    async def follow(self, *, every_s: float) -> None:
        """Take up changes for ever. With mistakes in them, the last rules count."""
        reported: tuple[str, ...] = ()
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.refresh()
                reported = ()
            except errors.CatalogInvalid as invalid:
                if invalid.problems != reported:
                    log.error("limits_invalid", extra={"problems": invalid.problems})  # noqa: TRY400 - the problems are the whole story
                reported = invalid.problems

    async def refresh(self) -> bool:
        """Take up changes now; tell whether there were any."""
        rules = await self._source.load()
        if rules is None:
            return False
        self._current = rules
        log.info("limits_loaded")
        return True
