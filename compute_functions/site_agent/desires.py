"""The desired state by which the agent works: the newest that it was given, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

from compute_functions.contract import ContractError, DesiredState
from compute_functions.site_agent import json_file

log = logging.getLogger(__name__)


class Desires:
    """Takes desired states, none older than the last one that it took.

    What is offered becomes what is desired when it was written down.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._current: DesiredState | None = None
        self._offered: DesiredState | None = None

    @property
    def current(self) -> DesiredState | None:
        """What is desired; None as long as nobody has said anything."""
        return self._current

    @property
    def offered(self) -> DesiredState | None:
        """What waits to be written down; None if nothing does."""
        return self._offered

    def load(self) -> None:
        """Read what was taken last, maybe by another agent.

        A file that is damaged counts as none: nothing is started or stopped until a hub says again
        what is desired.
        """
        values = json_file.read(self._path)
        if values is None:
            return
        try:
            self._current = DesiredState.from_wire(values)
        except ContractError as error:
            log.error("desired_state_unreadable path=%s error=%s", self._path, error)  # noqa: TRY400 - likewise

    def offer(self, desired: DesiredState) -> bool:
        """Be given a desired state, and tell whether it changes anything; nothing is written."""
        known = self._offered or self._current
        if known is not None and desired.version < known.version:
            log.warning("desired_state_too_old given=%s known=%s", desired.version, known.version)
            return False
        if desired == known:
            return False
        self._offered = desired
        return True

    def keep(self) -> None:
        """Write down what was offered; from then on it is what is desired."""
        desired = self._offered
        if desired is None:
            return
        json_file.write(self._path, desired.to_wire())
        self._current = desired
        if self._offered is desired:  # Another may have been offered while this was written.
            self._offered = None
        log.info("desired_state_taken version=%s models=%d", desired.version, len(desired.models))
