"""Each request is one Globus Compute task: it works at every site, also without egress."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from resource_server.adapters.deserted import Deserted
from resource_server.adapters.globus_compute import replies
from resource_server.adapters.globus_compute.bodies import BODIES_BYTES, Bodies
from resource_server.adapters.globus_compute.budget import ALLOWANCE
from resource_server.adapters.globus_compute.channel import ChannelHealth, Finished
from resource_server.adapters.globus_compute.channels import Channels
from resource_server.adapters.globus_compute.engine_requests import engine_request
from resource_server.adapters.globus_compute.payload import pack_request
from resource_server.adapters.globus_compute.pushing import Pushing
from resource_server.adapters.globus_compute.service import ServiceAddresses
from resource_server.adapters.globus_compute.task_errors import about_task
from resource_server.adapters.pushed_streams import PushedStreams
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import InferenceAnswer, InferenceRequest, Late
from resource_server.ports import AnswerStream


class GlobusComputeBackend:
    """Carries requests to clusters through the function `run_request`.

    `clients` is a directory with one file `<name>.json` per confidential client; `allowance` is
    this process's part of the requests that Globus allows an identity in ten seconds; requests
    under way may hold `bodies_bytes` of bodies. Errors about a request that was sent have an
    attribute `task_id`. Sites push streams to `pushes`; without it answers come whole alone.
    """

    def __init__(
        self,
        clients: Path,
        *,
        addresses: ServiceAddresses | None = None,
        allowance: int = ALLOWANCE,
        bodies_bytes: int = BODIES_BYTES,
        pushes: PushedStreams | None = None,
    ) -> None:
        self._bodies = Bodies(bodies_bytes)
        self._deserted = Deserted()
        self.channels = Channels(
            clients,
            addresses=addresses or ServiceAddresses(),
            allowance=allowance,
        )
        self._pushing = None if pushes is None else Pushing(self.channels, pushes)

    async def __aenter__(self) -> Self:
        await self.channels.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.channels.__aexit__(kind, error, traceback)
        await self._deserted.close()

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        """Tell whether the cluster has an endpoint at all."""
        return cluster.globus_compute is not None

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises."""
        with self._bodies.held(cluster.name, len(request.body)):
            return await self._infer(cluster, request, late)

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Return the engine's answer as soon as its head is there; see the port."""
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        with self._bodies.held(cluster.name, len(request.body)):
            if self._pushing is not None and self._pushing.is_possible(cluster):
                pushed = await self._pushing.open(cluster, request, deadline=deadline)
                if pushed is not None:
                    return pushed
        raise errors.StreamComesWhole

    async def _infer(
        self, cluster: Cluster, request: InferenceRequest, late: Late | None
    ) -> InferenceAnswer:
        deadline = asyncio.get_running_loop().time() + request.timeout_s

        def desert(finished: Finished | None) -> None:
            if late is not None:
                self._deserted.start(_tell(late, cluster, finished))

        try:
            channel = await self.channels.of(cluster)
            payload = await pack_request(engine_request(request))
        except asyncio.CancelledError:
            desert(None)
            raise
        finished = await channel.call(
            cluster, "run_request", payload, deadline=deadline, late=desert
        )
        try:
            return await replies.engine_answer(cluster, finished)
        except asyncio.CancelledError:
            desert(finished)
            raise
        except errors.HotnodeError as error:
            raise about_task(error, finished.result.task_id) from error.__cause__

    def probe(self) -> tuple[ChannelHealth, ...]:
        """Return how each identity in use fares, without asking anybody."""
        return self.channels.health()


async def _tell(late: Late, cluster: Cluster, finished: Finished | None) -> None:
    """Say what came of a request whose caller has left."""
    answer = None
    try:
        if finished is not None:
            answer = await replies.engine_answer(cluster, finished)
    except errors.UpstreamError:
        pass  # No engine answered, so nothing is known of its work; nobody waits for the reason.
    finally:
        late(answer)
