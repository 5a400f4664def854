"""The answers that this hub waits for, each under a name and a secret that open it once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import web

from compute_functions.contract.pushes import STREAMS_PATH, Push
from resource_server.adapters.pushed_streams.stream import PushedStream
from resource_server.adapters.pushed_streams.traffic import PushTraffic
from resource_server.domain import errors

log = structlog.get_logger()

SECRET_BYTES = 32
#: Answers that one hub waits for and reads at once: each may hold a window of memory.
MOST_STREAMS = 4096
#: And of those, answers of one cluster: a site that opens none must not keep out the others.
MOST_OF_CLUSTER = 2048
#: Nothing is heard of a site for so long (seconds): its connection is dead. It says four times as
#: often that it is there.
SILENT_S = 60.0
#: When there are too many, some end soon (seconds).
_ROOM_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    """An answer that has not begun to come. Of the secret a digest is enough."""

    stream: PushedStream
    digest: bytes


class PushedStreams:
    """Waits for answers that sites push to `public_url`, the address of this hub for sites."""

    def __init__(
        self,
        public_url: str,
        *,
        most: int = MOST_STREAMS,
        most_of_cluster: int = MOST_OF_CLUSTER,
        silent_s: float = SILENT_S,
    ) -> None:
        self.public_url = public_url.rstrip("/")
        self._most = most
        self._most_of_cluster = most_of_cluster
        self._silent_s = silent_s
        self._awaited: dict[str, _Awaited] = {}
        self._open: set[PushedStream] = set()
        self._traffic: dict[str, PushTraffic] = {}

    def __len__(self) -> int:
        return len(self._open)

    def traffic(self) -> Mapping[str, PushTraffic]:
        """Return what each cluster pushed so far."""
        return self._traffic

    def routes(self) -> list[web.RouteDef]:
        """Return what the listener for sites serves."""
        path = f"{STREAMS_PATH}/{{name}}"
        return [web.post(path, self._receive, expect_handler=self._expected)]

    def expect(self, cluster: str, *, silence_s: float) -> tuple[PushedStream, Push]:
        """Wait for an answer from now on, until the stream is closed.

        Returns the stream and what the site needs to know. `silence_s` is for the engine.
        """
        traffic = self._traffic.setdefault(cluster, PushTraffic())
        if len(self._open) >= self._most or traffic.open >= self._most_of_cluster:
            raise _too_many(cluster)
        name, secret = secrets.token_hex(16), secrets.token_urlsafe(SECRET_BYTES)
        stream = PushedStream(
            cluster, silent_s=self._silent_s, closed=self._forget, name=name, traffic=traffic
        )
        self._awaited[name] = _Awaited(stream=stream, digest=_digest(secret))
        self._open.add(stream)
        traffic.open += 1
        url = f"{self.public_url}{STREAMS_PATH}/{name}"
        return stream, Push(url=url, secret=secret, silence_s=silence_s)

    def _forget(self, stream: PushedStream) -> None:
        if stream not in self._open:
            return  # It was closed before.
        self._awaited.pop(stream.name, None)
        self._open.remove(stream)
        traffic = self._traffic[stream.cluster]
        traffic.open -= 1
        traffic.ended[stream.outcome] += 1

    async def _expected(self, request: web.Request) -> web.StreamResponse | None:
        """Say before the body comes whether it is wanted."""
        refusal = self._refusal(request)
        if refusal is None:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # What has been written is not yet the answer, as for the library's own handler.
            request.writer.output_size = 0
        return refusal

    def _refusal(self, request: web.Request) -> web.Response | None:
        awaited = self._awaited.get(request.match_info["name"])
        if awaited is None:
            return web.Response(status=HTTPStatus.GONE)
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        good = hmac.compare_digest(_digest(secret), awaited.digest)
        if scheme.lower() != "bearer" or not good:
            log.warning("push_refused", cluster=awaited.stream.cluster, stream=awaited.stream.name)
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        return None

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is None:
            # From here on the secret opens nothing.
            stream = self._awaited.pop(request.match_info["name"]).stream
            if await stream.receive(request.content):
                return web.Response(status=HTTPStatus.NO_CONTENT)
            refusal = web.Response(status=HTTPStatus.GONE)
        # The rest of the body is not read.
        refusal.force_close()
        return refusal


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def _too_many(cluster: str) -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"Too many streams from the cluster '{cluster}' are under way. Try again in a moment."
    )
    error.retry_after_s = _ROOM_AFTER_S
    return error
