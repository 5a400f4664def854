"""Requests for a model that has no instance yet: who waits, for how long, and who cannot.

It is the same whatever carries a request. A model that nobody keeps is asked for as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.domain.prospect import is_disabled
from resource_server.domain.routing import Choice, Destination
from resource_server.ports import SiteViews
from resource_server.services.carriage import Admitted, carry
from resource_server.services.impasses import Impasses
from resource_server.services.vigil import Vigil, WaitTimes, tell_nobody

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRules:
    """How many requests of this process wait at once, and how long streams do (seconds).

    They hold their bodies meanwhile, of which a process takes no more than it has room for.
    """

    most_per_model: int = 500
    most_per_person: int = 50
    most_bytes: int = 256 * 1024 * 1024
    most_bytes_per_person: int = 64 * 1024 * 1024
    longest_stream_s: float = 3600.0


class Waiting:
    """Carries requests to where their model is ready, and lets them wait where it is not."""

    def __init__(
        self,
        views: SiteViews,
        catalog: Callable[[], Catalog],
        *,
        rules: WaitRules | None = None,
        times: WaitTimes | None = None,
        impasses: Impasses | None = None,
    ) -> None:
        self._views = views
        self._catalog = catalog
        self._rules = rules or WaitRules()
        self._times = times or WaitTimes()
        self._impasses = impasses or Impasses()
        self._taken: Counter[Hashable] = Counter()

    async def carried(
        self,
        admitted: Admitted,
        choice: Choice,
        ask: Callable[[Admitted, Destination], Awaitable[T]],
    ) -> tuple[Destination, T, float]:
        """Return what a place answers in one piece, which, and how long was waited (seconds).

        Raises what `carry` does, `ModelLoading` once it took too long, and `ModelUnavailable`.
        """
        found = await self.tried(admitted, choice, ask)
        if found is not None:
            return (*found, 0.0)
        async with self.vigil(admitted, choice) as vigil:
            destination, answer = await vigil.carried(ask, tell_nobody)
            return destination, answer, vigil.waited_s

    async def tried(
        self,
        admitted: Admitted,
        choice: Choice,
        ask: Callable[[Admitted, Destination], Awaitable[T]],
    ) -> tuple[Destination, T] | None:
        """Return what a place answers that may be ready; None if there is none yet."""
        places = self._to_ask(choice)
        if not places:
            return None
        try:
            return await carry(admitted, places, self._impasses.watched(ask, self._views))
        except errors.ModelNotRunning:
            if not any(place.upkeep for place in choice.destinations):
                raise
            return None

    def vigil(self, admitted: Admitted, choice: Choice, *, streams: bool = False) -> Vigil:
        """Return the wait of one request, to be entered.

        Entering it raises `ModelUnavailable`, and `ModelLoading` for who does not want to wait.
        """
        return Vigil(
            admitted,
            choice,
            views=self._views,
            catalog=self._catalog,
            room=self._room,
            longest_s=self._rules.longest_stream_s if streams else None,
            times=self._times,
            impasses=self._impasses,
        )

    def _to_ask(self, choice: Choice) -> tuple[Destination, ...]:
        """Return the places that may be ready, without those known not to be.

        They are not even asked: each question would be a task, and count as a use of the model.
        """
        if not any(place.upkeep for place in choice.destinations):
            return choice.destinations
        model = choice.named.model.id
        at_work = [place for place in choice.destinations if not place.cluster.maintenance]
        if not at_work:
            # Asking says why.
            return choice.destinations
        return tuple(
            place for place in at_work if place.upkeep is None or self._may_serve(place, model)
        )

    def _may_serve(self, place: Destination, model: str) -> bool:
        # What operators have disabled may run on for a while, and is not for callers even so.
        if is_disabled(self._catalog(), model, place.deployment):
            return False
        where = (place.cluster.name, place.framework.name, model)
        return self._views.serves(where) is not False

    @contextmanager
    def _room(self, admitted: Admitted) -> Iterator[None]:
        """Take a request's part of the room of its person and model, or raise `ModelLoading`."""
        rules, person, model = self._rules, admitted.person.primary.id, admitted.named.model.id
        size = len(admitted.body.content)
        parts: dict[Hashable, tuple[int, int]] = {
            ("person", person): (1, rules.most_per_person),
            ("model", model): (1, rules.most_per_model),
            ("bytes", person): (size, rules.most_bytes_per_person),
            "bytes": (size, rules.most_bytes),
        }
        if any(self._taken[key] + part > most for key, (part, most) in parts.items()):
            raise errors.ModelLoading(
                f"The model '{model}' is not ready, and too many requests wait already. "
                "Try again later."
            )
        self._taken.update({key: part for key, (part, _) in parts.items()})
        try:
            yield
        finally:
            self._taken.subtract({key: part for key, (part, _) in parts.items()})
            for key in parts:
                if not self._taken[key]:
                    del self._taken[key]
