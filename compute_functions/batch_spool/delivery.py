"""Puts the results of batches among their owners' files: the agent's work, in a thread."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field, replace
from functools import partial

from compute_functions.batch_access import results
from compute_functions.batch_access.access import Access, ResultFolder, Sink
from compute_functions.batch_settings import AccessMode
from compute_functions.batch_spool import reporting
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.batch_spool.place import Delivered
from compute_functions.batch_spool.view import BatchView
from compute_functions.contract.batches import BatchReport
from compute_functions.errors import AccessRefused, ConfigurationError, FilesAway

log = logging.getLogger(__name__)

#: How often the progress file of a batch that runs is written anew (seconds).
PROGRESS_EVERY_S = 10.0
#: Where each time is a program that is started as another user, and a line in the system's log.
USERS_PROGRESS_EVERY_S = 60.0
#: What could not be put in its place is tried again after this (seconds).
TRY_AGAIN_S = 30.0
#: It is given up so long after the batch was over; the gateway has the results (seconds).
GIVE_UP_S = 3_600.0
_BLOCK = 1 << 20
RESULTS, PROGRESS = "results.jsonl", "progress.json"


@dataclass(slots=True)
class Delivery:
    """Delivers; remembers only when it last did something for a batch. Not for several threads."""

    access: Access
    _next_at: dict[tuple[str, bool], float] = field(default_factory=dict)

    def attend(self, view: BatchView, *, now: float) -> None:
        """Do what is due for a batch. A place that refuses is tried again, and given up in time.

        Nothing is raised but what the disk of the spool itself says (`OSError`).
        """
        if view.place.folder is None or view.delivered is not None:
            self.forget(view.order.batch)
        elif not (view.began or view.over):
            return
        # A clock that was set back must not hold it up.
        elif not 0 < self._next_at.get(_key(view), now) - now <= USERS_PROGRESS_EVERY_S:
            self._next_at[_key(view)] = now + self._try(view, view.place.folder, now=now)

    def forget(self, batch: str) -> None:
        """Remember nothing of a batch that is gone."""
        for is_over in (False, True):
            self._next_at.pop((batch, is_over), None)

    def _try(self, view: BatchView, folder: str, *, now: float) -> float:
        """Return after how many seconds to do so again."""
        try:
            with self.access.result_folder(view.order, folder) as found:
                deliver(view, found)
        except (AccessRefused, ConfigurationError, FilesAway, OSError) as error:
            log.warning("batch_not_delivered batch=%s error=%s", view.order.batch, error)
            if view.ended_at is not None and now - view.ended_at > GIVE_UP_S:
                is_told = isinstance(error, AccessRefused | FilesAway)
                reason = str(error) if is_told else "its disk failed"
                problem = f"the results could not be put in their place: {reason}"
                Delivered(problem=problem).decide(view.folder)
            return TRY_AGAIN_S
        is_users = self.access.settings.access is AccessMode.USER
        return USERS_PROGRESS_EVERY_S if is_users else PROGRESS_EVERY_S


def _key(view: BatchView) -> tuple[str, bool]:
    # The results are not held up by the progress file that was written just before.
    return view.order.batch, view.over


def deliver(view: BatchView, folder: ResultFolder) -> None:
    """Bring the files there to what the spool says; once more, and nothing changes."""
    name = results.file_name(view.order, PROGRESS)
    path = None
    if view.outcome is not None:
        write = partial(_write_results, folder=view.folder)
        path = folder.put(results.file_name(view.order, RESULTS), write)
    said = Delivered(results=path, progress=f"{folder.path}/{name}")
    # As it is once this is done.
    told = reporting.report(replace(view, delivered=said) if view.over else view)
    folder.replace(name, partial(_write_progress, told))
    if view.over:
        said.decide(view.folder)


def _write_results(file: Sink, *, folder: BatchFolder) -> None:
    """Write one record for every line: the answers, and after them what has none."""
    for path in (folder.output, folder.error_lines):
        try:
            with path.open("rb") as source:
                shutil.copyfileobj(source, file, _BLOCK)
        except FileNotFoundError:
            continue  # A file without lines is not written.


def _write_progress(told: BatchReport, file: Sink) -> None:
    file.write(json.dumps(told.to_wire(), indent=2).encode())
