"""A completion that comes piece by piece: its request stays admitted until it is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from resource_server.domain.catalog import NamedModel
from resource_server.domain.dialects import Dialect
from resource_server.domain.inference import Hops, StreamHead, Usage
from resource_server.domain.limits import Standing
from resource_server.domain.routing import Destination
from resource_server.ports import AnswerStream
from resource_server.services.events import EventsUnderWay


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCompletion:
    """An answer that has begun, or whose first event has not come within the time for that.

    Whoever is given one closes it, whatever happens. `begun` tells whether there are events
    already.
    """

    named: NamedModel
    destination: Destination
    dialect: Dialect
    standings: tuple[Standing, ...]
    begun: bool
    answer: AnswerStream
    events: EventsUnderWay
    #: What is to be closed: the engine's work, then the accounts, then the admission.
    stack: AsyncExitStack

    @property
    def head(self) -> StreamHead:
        """How the engine's answer began."""
        return self.answer.head

    @property
    def hops(self) -> Hops:
        """Where the time went, as far as it is known now."""
        return self.answer.hops

    @property
    def usage(self) -> Usage | None:
        """What the answer has cost so far, as far as its engine said."""
        return self.events.reader.usage()

    @property
    def events_seen(self) -> int:
        """How many events have come."""
        return self.events.reader.count

    @property
    def failed_at_the_engine(self) -> bool:
        """Whether the last event says that the engine failed."""
        return self.events.reader.error is not None

    async def first(self) -> bytes:
        """Return the first events, as soon as there are any; raises what `rest` raises."""
        return await self.events.first()

    @property
    def rest(self) -> AsyncIterator[bytes]:
        """The events after the first, whole, byte for byte; each item may hold several.

        Raises an `UpstreamError` if the answer breaks off before the engine says that it is whole.
        """
        return self.events.parts

    async def aclose(self) -> None:
        """Stop the engine, unless the answer is whole; count what it cost; give the place back."""
        await self.stack.aclose()
