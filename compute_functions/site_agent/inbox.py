"""Where wishes that come as Globus tasks wait for the agent, which runs in another process."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from compute_functions.contract import ContractError, Wishes
from compute_functions.site_agent import json_file

log = logging.getLogger(__name__)

#: More wishes than this wait only where no agent runs: the oldest are dropped.
MOST_WAITING = 100
#: A demand that has waited longer says nothing of now; hosts' clocks differ by less (seconds).
DEMAND_GOOD_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What one task brought, and where it stands."""

    path: Path
    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Inbox:
    """A folder with one file for each task that brought wishes."""

    folder: Path

    def put(self, wishes: Wishes, *, now_ns: int) -> None:
        """Leave wishes for the agent; `now_ns` puts them in order (ns since the epoch)."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._files()[: -MOST_WAITING + 1]:
            old.unlink(missing_ok=True)
        # Fixed width: names are in the order of the times.
        name = f"{now_ns:020d}-{secrets.token_hex(4)}.json"
        json_file.write(self.folder / name, wishes.to_wire())

    def look(self, *, now_ns: int) -> list[Waiting]:
        """Return what waits, the oldest first; it stays until it is removed."""
        found = []
        for path in self._files():
            try:
                wishes = Wishes.from_wire(json_file.read(path))
            except ContractError as error:
                log.error("wishes_unreadable path=%s error=%s", path, error)  # noqa: TRY400 - the reason says all
                wishes = Wishes()
            if abs(now_ns - _written_ns(path)) > DEMAND_GOOD_S * 1e9:
                wishes = replace(wishes, demand=None)
            found.append(Waiting(path=path, wishes=wishes))
        return found

    def remove(self, taken: Iterable[Waiting]) -> None:
        """Remove what was taken; until then it would be taken again by the next agent."""
        for one in taken:
            one.path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.json"))


def _written_ns(path: Path) -> int:
    text = path.name.partition("-")[0]
    return int(text) if text.isdecimal() else 0
