"""Which sites this hub has told of models to keep, on disk: its successor owes them the end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection
from pathlib import Path

import structlog

log = structlog.get_logger()


class ToldSites:
    """One file with the names of clusters. Where it fails, a site may not hear of an end in time.

    That is said in the log, and holds up nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    async def load(self) -> frozenset[str]:
        """Return the names; none if there is no file, or none that can be read."""
        try:
            names = json.loads(await asyncio.to_thread(self._file.read_bytes))
        except FileNotFoundError:
            return frozenset()
        except (OSError, ValueError) as error:
            log.warning("told_sites_unreadable", file=str(self._file), reason=str(error))
            return frozenset()
        return frozenset(map(str, names)) if isinstance(names, list) else frozenset()

    async def save(self, names: Collection[str]) -> None:
        """Replace the names in one step."""
        try:
            await asyncio.to_thread(self._write, json.dumps(sorted(names)))
        except OSError as error:
            log.warning("told_sites_not_saved", file=str(self._file), reason=str(error))

    def _write(self, text: str) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(text)
        draft.replace(self._file)
