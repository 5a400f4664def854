"""A steady load: callers who ask again and again, until they are told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from lifecycle_parts.asked import Asked, Outcome
from lifecycle_parts.asking import LONGEST_S, Asker, Question, session

#: A caller who was refused comes back after so long (seconds), as the openai SDK does.
AGAIN_S = 0.5
#: Between two words of a long stream (seconds).
PACE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Who asks at once: answers in one piece, short streams, and streams of `long_s` seconds.

    Long ones begin one after the other, so that some are always in their middle; `once` is for a
    load that ends soon: then nobody has to wait for those that began late.
    """

    model: str
    answers: int = 2
    streams: int = 2
    longs: int = 4
    long_s: float = 8.0
    once: bool = False
    pause_s: float = 0.05

    @property
    def long_words(self) -> int:
        """How many words a long stream has."""
        return round(self.long_s / PACE_S)

    def callers(self) -> list[tuple[Question, float]]:
        """Return each caller's question, and when it begins (seconds)."""
        answer = Question(model=self.model, words=2, every_s=0.02)
        short = Question(model=self.model, words=20, every_s=0.05, stream=True)
        long = Question(model=self.model, words=self.long_words, every_s=PACE_S, stream=True)
        apart_s = self.long_s / max(1, self.longs)
        return [
            *((answer, 0.0) for _ in range(self.answers)),
            *((short, 0.0) for _ in range(self.streams)),
            *((long, number * apart_s) for number in range(self.longs)),
        ]


@dataclass(slots=True)
class Load:
    """The callers of one load, and what they were answered so far."""

    mix: Mix
    asker: Asker
    asked: list[Asked] = field(default_factory=list)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def outcome(self) -> Outcome:
        """What became of the requests that have ended."""
        return Outcome(list(self.asked))

    def stop(self) -> None:
        """Let nobody ask again; who is being answered hears the end."""
        self._over.set()

    async def call(self, question: Question, begin_s: float) -> None:
        """Ask the same question again and again."""
        await self._pause(begin_s)
        while not self._over.is_set():
            answered = await self.asker.ask(question)
            self.asked.append(answered)
            if self.mix.once and question.words == self.mix.long_words:
                return
            await self._pause(self.mix.pause_s if not answered.detail else AGAIN_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return  # The pause is over.


@asynccontextmanager
async def load(base_url: str, token: str, mix: Mix) -> AsyncIterator[Load]:
    """Run a load beside the body; when that ends, every request under way comes to its end."""
    async with session(token) as opened, asyncio.TaskGroup() as tasks:
        running = Load(mix=mix, asker=Asker(opened, base_url))
        callers = [
            tasks.create_task(running.call(question, begin_s))
            for question, begin_s in mix.callers()
        ]
        yield running
        running.stop()
        async with asyncio.timeout(LONGEST_S + mix.long_s):
            await asyncio.wait(callers)
