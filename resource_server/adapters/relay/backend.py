"""The relays as a backend: requests go to instances on links that these have opened."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

from compute_functions.contract import FailureCode, SiteFailure
from compute_functions.contract.relay import RelayRequest
from resource_server.adapters.relay import failures
from resource_server.adapters.relay.link import Link
from resource_server.adapters.relay.links import Links
from resource_server.adapters.relay.stream import RelayStream
from resource_server.adapters.relay.traffic import Place
from resource_server.adapters.site_failures import site_error
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.failover import Failover
from resource_server.domain.inference import (
    MOST_ANSWER,
    InferenceAnswer,
    InferenceRequest,
    Late,
    Stopped,
)

#: The relay keeps the times, and is given so much longer to say so (seconds).
MARGIN_S = 5.0


class RelayBackend:
    """Carries requests to the instances whose relays have dialled in."""

    def __init__(
        self, links: Links, *, most_answer: int = MOST_ANSWER, margin_s: float = MARGIN_S
    ) -> None:
        self._links = links
        self._most_answer = most_answer
        self._margin_s = margin_s

    def serves(self, cluster: Cluster, request: InferenceRequest) -> bool:
        """Tell whether an instance of the model takes requests right now."""
        return self._links.serves(_place(cluster, request))

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status; see the port for what it raises.

        A caller who leaves stops the engine, which does not say then what it used.
        """
        try:
            stream = await self.stream(cluster, request)
            try:
                body = await stream.whole(
                    request.timeout_s + self._margin_s,
                    most=self._most_answer,
                    room=self._links.share(cluster.name).answers,
                )
            finally:
                await stream.aclose()
        except asyncio.CancelledError:
            if late is not None:
                late(Stopped.CANCELLED)
            raise
        head = stream.head
        return InferenceAnswer(
            status=head.status,
            body=body,
            content_type=head.content_type,
            transport=head.transport,
            hops=stream.hops,
            headers=head.headers,
        )

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> RelayStream:
        """Return the engine's answer as soon as its head is there; see the port.

        As long as a failure says that nothing ran, another instance is asked, be it one whose
        relay has linked meanwhile; once also if the first one was lost before it answered.
        """
        links = self._able(cluster, request)
        tried: list[Link] = []
        failover = Failover()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_s
        while True:
            link = self._links.choose(links, request.affinity)
            try:
                return await self._opened(link, cluster, request)
            except errors.UpstreamError as error:
                tried.append(link)
                links = [one for one in self._capable(cluster, request) if one not in tried]
                left_s = deadline - loop.time()
                failover.judge(error, others=bool(links) and left_s > 0)
                request = replace(request, timeout_s=left_s)

    async def _opened(self, link: Link, cluster: Cluster, request: InferenceRequest) -> RelayStream:
        silence_s = cluster.request_timeout_s
        _require_headers(request)
        stream = link.open(
            RelayRequest(
                # Each attempt at an instance has an id of its own: sites refuse one they know.
                request_id=f"{request.request_id}-{secrets.token_hex(6)}",
                path=request.path,
                body_bytes=len(request.body),
                timeout_s=request.timeout_s,
                silence_s=silence_s,
                headers=request.headers,
            ),
            request.body,
            silence_s=silence_s + self._margin_s,
        )
        try:
            await stream.opened(request.timeout_s + self._margin_s)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    def _able(self, cluster: Cluster, request: InferenceRequest) -> list[Link]:
        """Return the links that can take a request, or raise why there are none."""
        able = self._capable(cluster, request)
        if not able:
            place = _place(cluster, request)
            if not self._links.ready(place):
                raise self._none(cluster, place)
            raise site_error(cluster.name, _no_such_path(request))
        return able

    def _capable(self, cluster: Cluster, request: InferenceRequest) -> list[Link]:
        ready = self._links.ready(_place(cluster, request))
        return [link for link in ready if request.path in link.paths]

    def _none(self, cluster: Cluster, place: Place) -> errors.HotnodeError:
        if self._links.is_parked(place):
            return failures.not_sent(cluster.name)
        return errors.ModelNotRunning(
            f"No instance of the model on '{cluster.name}' is connected now. See "
            f"GET /resource_server/{cluster.name}/jobs."
        )


def _place(cluster: Cluster, request: InferenceRequest) -> Place:
    return cluster.name, request.framework, request.model


def _require_headers(request: InferenceRequest) -> None:
    """Raise `InvalidRequest` for what relays take for a breach of the protocol.

    They would end the link, and with it the requests of everybody else.
    """
    for line in (*request.headers, *request.headers.values()):
        if not line.isprintable():
            raise errors.InvalidRequest("A header holds a line break or a control character.")


def _no_such_path(request: InferenceRequest) -> SiteFailure:
    return SiteFailure(code=FailureCode.PATH_NOT_ALLOWED, message=request.path)
