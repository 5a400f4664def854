"""The backend of engines and services that the gateway reaches over HTTP."""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack

import aiohttp

from resource_server.adapters import request_bodies
from resource_server.adapters.direct import failures
from resource_server.adapters.direct.clients import DirectClient, DirectClients
from resource_server.adapters.direct.files import FilesUnusable
from resource_server.adapters.direct.stream import DirectStream
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, DirectTarget
from resource_server.domain.inference import (
    MOST_ANSWER,
    InferenceAnswer,
    InferenceRequest,
    Late,
    Stopped,
)

#: What of a caller's request goes on. Never who asked, or with which token.
PASSED_ON = frozenset({"accept", "content-type", "traceparent", "tracestate"})
#: aiohttp wants larger bodies as files, which it writes in parts (bytes).
WHOLE_BODY = 512 * 1024


class DirectBackend:
    """Carries requests to the `direct` targets of frameworks, by clients that are open."""

    def __init__(self, clients: DirectClients, *, most_answer: int = MOST_ANSWER) -> None:
        self._clients = clients
        self._most_answer = most_answer

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        """Tell whether the cluster's framework has a target."""
        framework = cluster.frameworks.get(request.framework)
        return framework is not None and framework.direct is not None

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises.

        A caller who leaves hangs up on the engine, which does not say then what it used.
        """
        try:
            return await self._infer(cluster, request)
        except asyncio.CancelledError:
            if late is not None:
                late(Stopped.CANCELLED)
            raise

    async def _infer(self, cluster: Cluster, request: InferenceRequest) -> InferenceAnswer:
        try:
            async with asyncio.timeout(request.timeout_s):
                stream = await self.stream(cluster, request)
                try:
                    body = await stream.whole(most=self._most_answer)
                finally:
                    await stream.aclose()
        except TimeoutError as problem:
            raise failures.before_the_head(cluster.name, problem) from problem
        head = stream.head
        return InferenceAnswer(
            status=head.status,
            body=body,
            content_type=head.content_type,
            transport=head.transport,
            hops=stream.hops,
            headers=head.headers,
        )

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> DirectStream:
        """Return the engine's answer as soon as its head is there; see the port."""
        target = _target(cluster, request)
        try:
            async with AsyncExitStack() as stack, asyncio.timeout(request.timeout_s):
                client = await self._clients.held(target)
                stack.push_async_callback(client.release)
                began_at = asyncio.get_running_loop().time()
                response = await _asked(client, target, request)
                # From here on the stream holds the client.
                stack.pop_all()
        except _PROBLEMS as problem:
            raise failures.before_the_head(cluster.name, problem) from problem
        return DirectStream(
            client,
            response,
            cluster=cluster.name,
            silence_s=cluster.request_timeout_s,
            began_at=began_at,
        )


_PROBLEMS = (TimeoutError, aiohttp.ClientError, OSError, FilesUnusable)


def _target(cluster: Cluster, request: InferenceRequest) -> DirectTarget:
    target = cluster.framework(request.framework).direct
    if target is None:
        raise errors.BackendUnavailable(
            f"The cluster '{cluster.name}' cannot be reached directly. The operators must act."
        )
    return target


async def _asked(
    client: DirectClient, target: DirectTarget, request: InferenceRequest
) -> aiohttp.ClientResponse:
    headers = _headers(request)
    body = request.body
    if request.model in target.models:
        model = {"model": target.models[request.model]}
        body = request_bodies.with_fields(body, headers["content-type"], model)
    return await client.session.post(
        client.base.joinpath(request.path.removeprefix("/")),
        data=body if len(body) <= WHOLE_BODY else io.BytesIO(body),
        headers=headers | dict(target.headers) | client.authorization,
        proxy=client.proxy,
        allow_redirects=False,
    )


def _headers(request: InferenceRequest) -> dict[str, str]:
    given = {name.lower(): value for name, value in request.headers.items()}
    return {
        "content-type": "application/json",
        **{name: value for name, value in given.items() if name in PASSED_ON},
        "x-request-id": request.request_id,
        # Events would wait in a compressor, and bytes are passed on as they are.
        "accept-encoding": "identity",
    }
