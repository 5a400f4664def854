"""Places that bring answers in one piece alone, as sites do that cannot reach the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late
from resource_server.ports import AnswerStream

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Oslo"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


def answer(status: int = 200, **said: object) -> InferenceAnswer:
    return InferenceAnswer(
        status=status,
        body=json.dumps(said or CHAT).encode(),
        content_type="application/json",
        transport="task",
        hops=Hops(engine_s=2.0),
        task_id="task-1",
    )


class PlaceWithoutEgress:
    """Brings answers whole; `answers` gives one when `come` is set, also to nobody."""

    def __init__(self, answers: Callable[[], InferenceAnswer] = answer) -> None:
        self.asked: list[InferenceRequest] = []
        self.come = asyncio.Event()
        self.sent = asyncio.Event()
        self._answers = answers
        self._deserted: set[asyncio.Task[None]] = set()

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        self.sent.set()
        try:
            await self.come.wait()
        except asyncio.CancelledError:
            assert late is not None
            self._deserted.add(asyncio.create_task(self._finish(late)))
            raise
        return self._answers()

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        raise errors.StreamComesWhole

    async def _finish(self, late: Late) -> None:
        await self.come.wait()
        late(self._answers())
