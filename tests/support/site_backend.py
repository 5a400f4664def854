"""A backend whose clusters are one site on this machine, without Globus in between."""

from __future__ import annotations

import time

from compute_functions import run_request
from compute_functions.contract import EngineRequest
from resource_server.adapters import whole_streams
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.calls import TaskResult
from resource_server.adapters.globus_compute.channel import Finished
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Late
from resource_server.ports import AnswerStream


class BackendAtSite:
    """Calls the site's function itself, and reads its reply as the Globus adapter does.

    The site is the one that HOTNODE_SITE_DIR names, and its functions cannot reach the gateway:
    streams are made of whole answers.
    """

    def __init__(self) -> None:
        self.asked: list[InferenceRequest] = []

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        self.asked.append(request)
        started = time.monotonic()
        value = await run_request.answer(
            EngineRequest(
                request_id=request.request_id,
                framework=request.framework,
                model=request.model,
                path=request.path,
                headers=request.headers,
                body=request.body,
                timeout_s=request.timeout_s,
            ).to_wire()
        )
        result = TaskResult(task_id=f"task-{request.request_id}", value=value)
        away_s = time.monotonic() - started
        finished = Finished(result=result, queue_s=0.0, away_s=away_s)
        return await replies.engine_answer(cluster, finished)

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        answer = await self.infer(cluster, whole_streams.asking(request))
        return whole_streams.WholeStream.of(answer, request)

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        return True
