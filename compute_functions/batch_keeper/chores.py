"""What is done for batches in threads beside the agent's looks, for it may take minutes.

Inputs are taken into the spool, results put in their place, and removed what nobody needs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from compute_functions.batch_access.chosen import chosen
from compute_functions.batch_keeper import giving_up
from compute_functions.batch_keeper.desk import Desk
from compute_functions.batch_settings import BatchSettings
from compute_functions.batch_spool import forgetting, input_copy
from compute_functions.batch_spool.delivery import Delivery
from compute_functions.batch_spool.folders import Spool
from compute_functions.batch_spool.view import BatchView
from compute_functions.errors import ConfigurationError

log = logging.getLogger("hotnode.batches")

#: Between two removals of what nobody needs (seconds).
SWEEP_S = 60.0
#: An input that could not be taken is tried again after this (seconds).
TRY_AGAIN_S = 30.0


class Lane:
    """One thread at a time, that the end of the process does not wait for.

    What is asked for while it is at work is not done: whoever asks looks again in a second.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is under way."""
        return self._thread is None or not self._thread.is_alive()

    def do(self, work: Callable[[], None]) -> None:
        """Begin something, unless something is under way."""
        if self.free:
            self._thread = threading.Thread(target=work, name=self._name, daemon=True)
            self._thread.start()


@dataclass(slots=True)
class Chores:
    """Does what is due, again and again. What goes wrong is logged, and tried again."""

    spool: Spool
    settings: BatchSettings
    desk: Desk
    _inputs: Lane = field(default_factory=lambda: Lane("batch inputs"))
    _results: Lane = field(default_factory=lambda: Lane("batch results"))
    _delivery: Delivery = field(init=False)
    _try_at: dict[str, float] = field(default_factory=dict)
    _known: frozenset[str] = frozenset()
    _swept_at: float = 0.0

    def __post_init__(self) -> None:
        """Begin to remember what is due."""
        self._delivery = Delivery(chosen(self.settings))

    def begin(
        self,
        views: Mapping[str, BatchView],
        *,
        running: Collection[str],
        instances: Collection[str],
        now: float,
    ) -> None:
        """Begin what is due. `running` are the batches that a runner may still work on."""
        wanting = [view for view in views.values() if view.wants_input]
        if wanting:
            self._inputs.do(lambda: self._receive(wanting, now))
        if self._results.free:
            # Its own copy: the thread reads it while the next look makes others.
            held = dict(views)
            self._results.do(lambda: self._attend(held, set(running), set(instances), now))

    def _receive(self, wanting: list[BatchView], now: float) -> None:
        access = chosen(self.settings)
        for view in wanting:
            batch = view.order.batch
            if not 0 < self._try_at.get(batch, 0.0) - now <= TRY_AGAIN_S:
                try:
                    input_copy.receive(view.folder, view.order, access)
                except (OSError, ConfigurationError) as error:
                    log.warning("input_not_taken batch=%s error=%s", batch, error)
                    self._try_at[batch] = now + TRY_AGAIN_S
        there = {view.order.batch for view in wanting}
        self._try_at = {batch: at for batch, at in self._try_at.items() if batch in there}

    def _attend(
        self,
        views: Mapping[str, BatchView],
        running: Collection[str],
        instances: Collection[str],
        now: float,
    ) -> None:
        for view in views.values():
            try:
                self._delivery.attend(view, now=now)
                giving_up.expire(view, now=now)
            except (OSError, ConfigurationError) as error:
                log.warning("batch_not_attended batch=%s error=%s", view.order.batch, error)
        for batch in self._known - views.keys():
            self._delivery.forget(batch)
        self._known = frozenset(views)
        if not 0 <= now - self._swept_at < SWEEP_S:
            self._swept_at = now
            self._sweep(running, instances, now)

    def _sweep(self, running: Collection[str], instances: Collection[str], now: float) -> None:
        try:
            forgetting.sweep(self.spool, running=running, now=now)
            self.desk.sweep(instances, now=now)
        except (OSError, ConfigurationError) as error:
            log.warning("spool_not_swept error=%s", error)
