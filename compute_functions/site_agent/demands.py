"""Who wants which model, added up over all hubs, and when each was last used."""

from __future__ import annotations

import heapq
import logging
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compute_functions.contract import Demand, ModelDemand
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent import json_file

log = logging.getLogger(__name__)

#: A hub that has said nothing for so long wants nothing any more (seconds).
FORGOTTEN_AFTER_S = 15.0
#: Uses are written down at most so often (seconds): after a crash a model may idle so much longer.
WRITTEN_EVERY_S = 10.0
#: Models whose last use is remembered.
MOST_MODELS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How much a model is wanted; `used_at` is seconds since the epoch, None if never."""

    waiting: int = 0
    running: int = 0
    used_at: float | None = None


class Demands:
    """Takes what hubs say. `now` is the time since the epoch, `clock` one that never jumps."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        most: int = MOST_MODELS,
    ) -> None:
        self._path = path
        self._most = most
        self._now = now
        self._clock = clock
        self._hubs: dict[str, tuple[float, Demand]] = {}
        self._used: dict[ModelKey, float] = {}
        self._written_at = 0.0
        self._changed = False

    def load(self) -> None:
        """Read when models were last used."""
        values = json_file.read(self._path)
        for item in values if isinstance(values, list) else ():
            match item:
                case [str(model), str(framework), *purpose, float() | int() as used_at]:
                    key = ModelKey(model, framework, "".join(map(str, purpose)))
                    # A clock that was ahead must not keep a model for ever.
                    self._used[key] = min(float(used_at), self._now())
                case _:
                    log.error("use_unreadable path=%s item=%s", self._path, reprlib.repr(item))

    def take(self, demand: Demand) -> bool:
        """Take what a hub says; tell whether somebody now waits for what nobody waited for."""
        before = {served for served, wanted in self._sums().items() if wanted.waiting}
        self._hubs[demand.hub] = (self._clock(), demand)
        for one in demand.models:
            served = ModelKey.of(one)
            is_busy = bool(one.waiting or one.running)
            ago = 0.0 if is_busy else one.used_s
            if ago is not None:
                self._use(served, self._now() - max(0.0, ago))
        self._forget_oldest()
        waited_for = {ModelKey.of(one) for one in demand.models if one.waiting}
        return not waited_for <= before

    def wanted(self, model: str, framework: str) -> Wanted:
        """Return how much a model is wanted now."""
        return self.all().get(ModelKey(model, framework), Wanted())

    def all(self) -> dict[ModelKey, Wanted]:
        """Return every model that anybody wants, or has ever used."""
        sums = self._sums()
        return {
            served: Wanted(
                waiting=sums[served].waiting if served in sums else 0,
                running=sums[served].running if served in sums else 0,
                used_at=self._used.get(served),
            )
            for served in self._used.keys() | sums.keys()
        }

    def summed(self) -> tuple[ModelDemand, ...]:
        """Return the same as the reconciler reads it: uses as so many seconds ago."""
        now = self._now()
        return tuple(
            ModelDemand(
                model=served.model,
                framework=served.framework,
                purpose=served.purpose,
                waiting=wanted.waiting,
                running=wanted.running,
                used_s=None if wanted.used_at is None else max(0.0, now - wanted.used_at),
            )
            for served, wanted in self.all().items()
        )

    def shift(self, seconds: float) -> None:
        """Reckon with a clock that was set forward by so many seconds."""
        self._used = {served: at + seconds for served, at in self._used.items()}

    def save(self) -> None:
        """Write down when models were last used, unless that was done a moment ago."""
        now = self._clock()
        if self._changed and now - self._written_at >= WRITTEN_EVERY_S:
            self._write(now)

    def flush(self) -> None:
        """Write it down now."""
        if self._changed:
            self._write(self._clock())

    def _write(self, now: float) -> None:
        json_file.write(self._path, [[*_words(served), at] for served, at in self._used.items()])
        self._written_at, self._changed = now, False

    def _use(self, served: ModelKey, at: float) -> None:
        known = self._used.get(served, 0.0)
        # A clock that was ahead for a while must not keep a model for ever.
        if at > known or known > self._now():
            self._used[served] = at
            self._changed = True

    def _forget_oldest(self) -> None:
        excess = len(self._used) - self._most
        if excess > 0:
            oldest = heapq.nsmallest(excess, self._used, key=lambda one: self._used[one])
            for served in oldest:
                del self._used[served]

    def _sums(self) -> dict[ModelKey, Wanted]:
        horizon = self._clock() - FORGOTTEN_AFTER_S
        self._hubs = {hub: said for hub, said in self._hubs.items() if said[0] >= horizon}
        sums: dict[ModelKey, Wanted] = {}
        for _, demand in self._hubs.values():
            for one in demand.models:
                served = ModelKey.of(one)
                so_far = sums.get(served, Wanted())
                sums[served] = Wanted(
                    waiting=so_far.waiting + one.waiting, running=so_far.running + one.running
                )
        return sums


def _words(served: ModelKey) -> tuple[str, ...]:
    """Return how a model stands in the file: as agents before purposes wrote it, if it has none."""
    named = (served.model, served.framework)
    return (*named, served.purpose) if served.purpose else named
