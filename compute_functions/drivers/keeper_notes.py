"""Which instances were given to the endpoint as tasks: one note each, in the agent's folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from compute_functions import private_file
from compute_functions.orders import Order
from compute_functions.site import SiteDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperNote:
    """One instance and its task; `task_id` is empty until the service has taken it."""

    instance: str
    task_id: str
    model: str
    generation: int
    fence: int
    walltime_s: float
    submitted_at: float
    purpose: str = ""

    @classmethod
    def of(cls, order: Order, *, now: float, task_id: str = "") -> Self:
        """Return the note of an order."""
        return cls(
            instance=order.instance,
            task_id=task_id,
            model=order.model,
            generation=order.generation,
            fence=order.fence,
            walltime_s=order.walltime_s,
            submitted_at=now,
            purpose=order.purpose,
        )


class KeeperNotes:
    """The notes of a site. They outlive the agent, as the tasks do."""

    def __init__(self, site: SiteDirectory) -> None:
        self._folder = site.agent / "keepers"

    def write(self, note: KeeperNote) -> None:
        """Put a note down, or replace it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        private_file.write(self._file(note.instance), json.dumps(asdict(note)))

    def remove(self, instance: str) -> None:
        """Forget an instance that has ended."""
        self._file(instance).unlink(missing_ok=True)

    def all(self) -> Iterator[KeeperNote]:
        """Yield every note; a file that is none of ours is logged."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                yield KeeperNote(**values)
            except (ValueError, TypeError, FileNotFoundError) as error:
                log.warning("keeper_note_unreadable path=%s error=%s", path, error)

    def _file(self, instance: str) -> Path:
        return self._folder / f"{instance}.json"
