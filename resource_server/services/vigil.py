"""One request that waits until an instance of its model is ready, told meanwhile how it stands."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

from resource_server.domain import errors, routing
from resource_server.domain.catalog import Catalog
from resource_server.domain.lifecycle import ModelState, Place, SiteView
from resource_server.domain.prospect import Prospect, prospect
from resource_server.domain.routing import Choice, Destination
from resource_server.ports import SiteViews
from resource_server.services.carriage import Admitted, carry
from resource_server.services.impasses import Impasses

T = TypeVar("T")
#: Who is told how a model stands; returns when they have taken it.
Tell = Callable[[Prospect], Awaitable[None]]
Room = Callable[[Admitted], AbstractContextManager[None]]

#: Without an estimate callers come again after so long (seconds), and never sooner than the other.
USUAL_RETRY_S = 30.0
SHORTEST_RETRY_S = 1.0
#: A site that cannot be reached may be back after so long (seconds).
REACHED_AGAIN_S = 60.0
_RANKS = (ModelState.READY, ModelState.BUSY, ModelState.STARTING, ModelState.QUEUED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitTimes:
    """How often who waits is told something, and asks a place again that refused (seconds).

    Each further refusal doubles the latter, up to the former: hundreds may wait, and ask.
    """

    notice_s: float = 10.0
    again_s: float = 2.0

    def pause_s(self, last_s: float) -> float:
        """Return when to ask again a place that refused, where it was `last_s` the last time."""
        return max(self.again_s, min(2 * last_s, self.notice_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """A place that has no instance after all; asked again at that time, or when it changes.

    `number` is that of its view when it was asked.
    """

    number: int
    again_at: float
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How things stand: the places that are ready, else the one that is waited for."""

    ready: tuple[Destination, ...]
    target: Destination
    prospect: Prospect
    views: tuple[SiteView, ...]


async def tell_nobody(prospect: Prospect) -> None:
    """Wait in silence."""


class Vigil:
    """A wait, inside an `async with` block; see `Waiting.vigil`.

    `longest_s` is the longest wait where the caller names none; None is the patience that they have
    for an answer in one piece.
    """

    def __init__(  # noqa: PLR0913 - what it needs, each by its name
        self,
        admitted: Admitted,
        choice: Choice,
        *,
        views: SiteViews,
        catalog: Callable[[], Catalog],
        room: Room,
        longest_s: float | None,
        times: WaitTimes,
        impasses: Impasses,
    ) -> None:
        self.admitted = admitted
        self._named = choice.named
        self._model = choice.named.model.id
        self._views = views
        self._catalog = catalog
        self._room = room
        self._longest_s = longest_s
        self._times = times
        self._impasses = impasses
        self._kept: tuple[Destination, ...] = ()
        #: The catalog that these places were chosen from.
        self._chosen_from: Catalog | None = None
        self._stack = AsyncExitStack()
        self._began_at = time.monotonic()
        self._until = self._began_at
        self._refusals: dict[str, _Refusal] = {}
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self.waited_s = 0.0

    async def __aenter__(self) -> Self:
        look = self._look()
        wait_s = self._limit_s()
        if wait_s <= 0:
            # Who does not wait wants the model all the same.
            with self._views.waiting(self._place(look.target)):
                raise self._late(look.prospect)
        self._until = self._began_at + wait_s
        self._stack.enter_context(self._room(self.admitted))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def carried(
        self, ask: Callable[[Admitted, Destination], Awaitable[T]], tell: Tell
    ) -> tuple[Destination, T]:
        """Return what a place answers once it is ready; raises `ModelLoading` if it takes too long.

        `tell` is called at once, with every change, and now and then.
        """
        while True:
            places = await self._ready(tell)
            self.waited_s = time.monotonic() - self._began_at
            numbers = {name: self._views.view(name).number for name in _clusters(places)}
            if self._longest_s is not None:
                # A stream's patience begins with its model.
                self.admitted = replace(self.admitted, began_at=time.monotonic())
            try:
                asking = self._impasses.watched(ask, self._views)
                found = await carry(self.admitted, places, asking)
            except errors.ModelNotRunning:
                self._note_refusals(numbers)
            else:
                # Another may wait in its place.
                await self._stack.aclose()
                return found

    async def _ready(self, tell: Tell) -> tuple[Destination, ...]:
        """Return the places that are ready, as soon as there are any."""
        look = self._look()
        while not look.ready:
            with self._views.waiting(self._place(look.target)):
                look = await self._stay(look, tell)
        return look.ready

    async def _stay(self, look: _Look, tell: Tell) -> _Look:
        """Wait for one place, until one is ready or another is better to wait for."""
        target = look.target
        while not look.ready and look.target == target:
            await self._say(look.prospect, tell)
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise self._late(look.prospect)
            within_s = min(left_s, self._times.notice_s, self._again_s())
            await self._views.changed(look.views, within_s=within_s)
            look = self._look()
        return look

    async def _say(self, known: Prospect, tell: Tell) -> None:
        now = time.monotonic()
        due = now - self._told_at >= self._times.notice_s
        if due or known.shown != self._told:
            self._told, self._told_at = known.shown, now
            await tell(known)

    def _look(self) -> _Look:
        """Return how things stand; raises `ModelUnavailable` if no place will be ready."""
        catalog = self._catalog()
        if catalog is not self._chosen_from:
            self._kept, self._chosen_from = self._places(catalog), catalog
        known = self._known(catalog)
        target, best = self._best(known)
        # Also one to which no way has led so far: now one may.
        ready = tuple(
            place for place, one, view in known if not one.never and self._is_ready(place, view)
        )
        return _Look(
            ready=ready,
            target=target,
            prospect=best,
            views=tuple(view for _, _, view in known),
        )

    def _best(
        self, known: list[tuple[Destination, Prospect, SiteView]]
    ) -> tuple[Destination, Prospect]:
        """Return the place with the best prospect, or raise `ModelUnavailable`."""
        tell, model = self._impasses.told, self._model
        told = [(place, tell(one, model, view)) for place, one, view in known if not one.never]
        hopeful = [one for one in told if not one[1].never]
        if not hopeful:
            raise self._unavailable([one[1] for one in told or known])
        return min(hopeful, key=lambda one: _rank(one[1]))

    def _known(self, catalog: Catalog) -> list[tuple[Destination, Prospect, SiteView]]:
        """Return what is known of the model at each of its places."""
        now = time.time()
        views = [self._views.view(place.cluster.name) for place in self._kept]
        return [
            (place, prospect(catalog, self._model, place.deployment, view, now=now), view)
            for place, view in zip(self._kept, views, strict=True)
        ]

    def _places(self, catalog: Catalog) -> tuple[Destination, ...]:
        """Return where the model is kept for this person, as operators have it now.

        A wait may last for an hour. What was prepared for the model is for no other of its name.
        """
        person, base = self.admitted.person, self.admitted.request.base
        try:
            choice = routing.choose(catalog, person, base, self._named.name)
        except errors.CallerError:
            return ()
        if choice.named.model.id != self._model:
            return ()
        return tuple(place for place in choice.destinations if place.upkeep)

    def _is_ready(self, place: Destination, view: SiteView) -> bool:
        """Tell whether to ask a place: it is ready, and did not just say that it is not."""
        if self._views.serves(self._place(place)) is not True:
            return False
        refusal = self._refusals.get(place.cluster.name)
        if refusal is None or refusal.number != view.number:
            return True
        return time.monotonic() >= refusal.again_at

    def _note_refusals(self, numbers: Mapping[str, int]) -> None:
        now = time.monotonic()
        for name, number in numbers.items():
            last = self._refusals.get(name)
            pause_s = self._times.pause_s(last.pause_s if last else 0.0)
            self._refusals[name] = _Refusal(number=number, again_at=now + pause_s, pause_s=pause_s)

    def _again_s(self) -> float:
        """Return after how many seconds a place that refused may be asked again."""
        now = time.monotonic()
        waits_s = [one.again_at - now for one in self._refusals.values() if one.again_at > now]
        return min(waits_s, default=self._times.notice_s)

    def _limit_s(self) -> float:
        """Return for how long the request waits."""
        longest_s = self._longest_s
        if longest_s is None:
            longest_s = max(self.admitted.patience_s(place) for place in self._kept)
        asked_s = self.admitted.request.wait_s
        return longest_s if asked_s is None else min(asked_s, longest_s)

    def _place(self, place: Destination) -> Place:
        return place.cluster.name, place.framework.name, self._model

    def _late(self, known: Prospect) -> errors.ModelLoading:
        retry_after_s = USUAL_RETRY_S
        if known.ready_in_s is not None:
            retry_after_s = max(SHORTEST_RETRY_S, known.ready_in_s)
        return errors.ModelLoading(
            f"The model '{self._model}' is not ready yet{_said(known)}. Send the request again.",
            state=known.facts(),
            retry_after_s=retry_after_s,
        )

    def _unavailable(self, known: list[Prospect]) -> errors.ModelUnavailable:
        """Return the error about the place that may come back soonest."""
        if not known:
            return errors.ModelUnavailable(f"The model '{self._model}' is served nowhere any more.")
        best = min(known, key=lambda one: one.final)
        return errors.ModelUnavailable(
            f"The model '{self._model}' cannot be had on '{best.cluster}'. {best.never}",
            state=best.facts(),
            retry_after_s=None if best.final else REACHED_AGAIN_S,
        )


def _clusters(places: Iterable[Destination]) -> set[str]:
    return {place.cluster.name for place in places}


def _rank(known: Prospect) -> tuple[int, float]:
    """Order prospects: what is furthest comes first, then what will be ready soonest."""
    rank = _RANKS.index(known.state) if known.state in _RANKS else len(_RANKS)
    return rank, float("inf") if known.ready_in_s is None else known.ready_in_s


def _said(known: Prospect) -> str:
    """Return in words how a model stands, as the middle of a sentence."""
    words = f": on '{known.cluster}' it is {known.facts()['state']}"
    if known.ahead is not None:
        words += f", {known.ahead} jobs before it"
    if known.ready_in_s is not None:
        words += f", ready in about {known.ready_in_s:.0f} s"
    return words
