"""A completion whose model is being started: its caller is told how it stands until it begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from resource_server.domain.catalog import NamedModel
from resource_server.domain.dialects import Dialect
from resource_server.domain.inference import InferenceAnswer
from resource_server.domain.limits import Standing
from resource_server.services.completion import Completion
from resource_server.services.open_completion import OpenCompletion
from resource_server.services.vigil import Tell, Vigil


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCompletion:
    """A stream that waits for its model. Whoever is given one closes it, whatever happens.

    `opened` waits, and returns the answer as `Completions.stream` does; it raises a `HotnodeError`
    if there is none. An `OpenCompletion` is then to be closed, too.
    """

    named: NamedModel
    dialect: Dialect
    standings: tuple[Standing, ...]
    vigil: Vigil
    opened: Callable[[Tell], Awaitable[OpenCompletion | Completion]]
    #: Makes an event of what an engine says instead of a stream; raises what else to say.
    refusal: Callable[[InferenceAnswer], bytes]
    #: What is to be closed, as long as no `OpenCompletion` has it: the wait, then the admission.
    stack: AsyncExitStack

    @property
    def waited_s(self) -> float:
        """How long the model took (seconds), once it is ready."""
        return self.vigil.waited_s

    async def aclose(self) -> None:
        """Wait no more; give the place back."""
        await self.stack.aclose()
