"""One link of a site's agent: what is desired and who wants it goes out, what there is comes in.

Calls of the site's functions and their answers go over it as well.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp
import structlog
from aiohttp import web

from compute_functions.contract import (
    AgentReport,
    ContractError,
    Demand,
    DesiredState,
    SiteStatus,
    site_link,
)
from compute_functions.contract.site_calls import CallAnswer, Offer
from compute_functions.contract.site_link import Accepted, MessageKind, Said
from resource_server.adapters.relay.gatekeeper import Gatekeeper, SiteAdmission
from resource_server.adapters.site_link.calls import LinkCalls
from resource_server.domain.lifecycle import Observation
from resource_server.domain.report import observed
from resource_server.services.site_board import SiteBoard

log = structlog.get_logger()

#: Reading more than this would hold up every request of the process (characters).
THREAD_FROM = 64 * 1024
#: An agent is read for a tenth of the time at most, whatever it sends.
_PAUSE_PER_READING = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTimes:
    """How often the hub speaks, and when an agent counts as gone (seconds).

    A count that rises from nothing, or falls to it, is told at once, but for `together_s` after the
    last message; other changes after `pace_s`; and `heartbeat_s` is the longest silence. A state
    newer than ours that a site works by for longer than `ahead_s` came from no other hub of ours.
    """

    together_s: float = 0.05
    pace_s: float = 1.0
    heartbeat_s: float = site_link.HEARTBEAT_S
    silent_s: float = site_link.SILENT_AFTER_S
    ahead_s: float = 60.0

    def pause_s(self, spent_s: float) -> float:
        """Return when to read on after a message that took so long: one site is not all work."""
        return min(max(self.together_s, _PAUSE_PER_READING * spent_s), self.heartbeat_s)


class SiteLink:
    """Speaks with one agent until its connection ends."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        *,
        admission: SiteAdmission,
        board: SiteBoard,
        gatekeeper: Gatekeeper,
        times: LinkTimes,
    ) -> None:
        self.admission = admission
        self._socket = socket
        self._transport = transport
        self._board = board
        self._gatekeeper = gatekeeper
        self._times = times
        self._desired: DesiredState | None = None
        self._demand: Demand | None = None
        self._told_at = 0.0
        self._renew_at = 0.0
        self._ahead: tuple[int, int] | None = None
        self._ahead_since: float | None = None
        self._ended = False
        self.calls = LinkCalls(admission.cluster, self._send_text)

    @property
    def cluster(self) -> str:
        """Whose agent it is."""
        return self.admission.cluster

    async def run(self) -> str:
        """Live as long as the connection does; return why it ended."""
        speaking = asyncio.create_task(self._speak(), name=f"site link {self.cluster}")
        # An agent to which nothing gets through must not be listened to as if all were well.
        speaking.add_done_callback(self._look_at_end)
        try:
            return await self._listen()
        finally:
            self.calls.end()
            speaking.cancel()
            await asyncio.wait({speaking})

    async def end(self, reason: str, *, code: int = aiohttp.WSCloseCode.GOING_AWAY) -> None:
        """Close the connection, and take nothing more from it."""
        self._ended = True
        self.calls.end()
        await self._socket.close(code=code, message=reason.encode()[:100])

    # What the hub says

    async def _speak(self) -> None:
        changes, cluster, times = self._board.wishes_changed, self.cluster, self._times
        clock = asyncio.get_running_loop().time
        await self._renew(MessageKind.ACCEPT)
        edge = True
        while True:
            seen = changes.number(cluster)
            if clock() >= self._renew_at:
                await self._renew(MessageKind.RENEW)
            await self._tell_desired()
            await self._tell_demand(at_once=edge)
            await asyncio.sleep(times.together_s)
            edge = await changes.after({cluster: seen}, within_s=times.pace_s - times.together_s)

    async def _tell_desired(self) -> None:
        desired = self._board.desired(self.cluster)
        if desired is not None and desired != self._desired:
            await self._send(MessageKind.DESIRED, desired)
            self._desired = desired
            log.info("site_wishes_sent", cluster=self.cluster, version=desired.version)

    async def _tell_demand(self, *, at_once: bool) -> None:
        demand = self._board.demand_at(self.cluster)
        now = asyncio.get_running_loop().time()
        silent = now - self._told_at >= self._times.heartbeat_s - self._times.pace_s
        if at_once or silent or _counts(demand) != _counts(self._demand):
            await self._send(MessageKind.DEMAND, demand)
            self._demand, self._told_at = demand, now

    async def _renew(self, kind: MessageKind) -> None:
        session, session_s = self._gatekeeper.site_session(self.admission)
        await self._send(kind, Accepted(hub=self._board.hub, session=session, session_s=session_s))
        self._renew_at = asyncio.get_running_loop().time() + session_s / 2

    async def _send(self, kind: MessageKind, said: Said) -> None:
        await self._send_text(site_link.message(kind, said))

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(self._times.silent_s):
            await self._socket.send_str(text)

    def _look_at_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if not isinstance(error, (ConnectionError, aiohttp.ClientError, TimeoutError)):
            log.error("site_link_failed", cluster=self.cluster, exc_info=error)
        self._abort()

    def _abort(self) -> None:
        """Drop the connection at once, which the listener notices."""
        if self._transport is not None:
            self._transport.abort()

    # What the agent says

    async def _listen(self) -> str:
        while True:
            try:
                said = await self._socket.receive(self._times.silent_s)
            except TimeoutError:
                self._abort()
                return f"the agent was silent for {self._times.silent_s:g} s"
            if said.type is not aiohttp.WSMsgType.TEXT:
                return await self._end_after(said)
            began_at = time.monotonic()
            try:
                await self._take(said.data)
            except ContractError as problem:
                return await self._break_off(str(problem))
            await asyncio.sleep(self._times.pause_s(time.monotonic() - began_at))

    async def _take(self, text: str) -> None:
        """Take a message, or raise `ContractError`."""
        if len(text) > THREAD_FROM:
            said = await asyncio.to_thread(_read, text)
        else:
            said = _read(text)
        # Meanwhile another agent of the site may have said something newer.
        if self._ended:
            return
        match said:
            case Observation() as observation:
                self._board.take(self.cluster, observation)
                self._compare(observation.agent)
            case Offer():
                self.calls.functions = frozenset(said.functions)
            case CallAnswer():
                self.calls.answer(said)

    def _compare(self, agent: AgentReport | None) -> None:
        """Say in the log if the site works by a state that is newer than ours; it will not change.

        That is so after the gateway's database was restored from an older copy.
        """
        if agent is None or self._desired is None:
            return
        theirs = (agent.generation, agent.revision)
        if theirs <= self._desired.version:
            self._ahead_since = None
            return
        now = time.monotonic()
        self._ahead_since = self._ahead_since or now
        if now - self._ahead_since >= self._times.ahead_s and theirs != self._ahead:
            log.error(
                "site_has_newer_wishes",
                cluster=self.cluster,
                theirs=theirs,
                ours=self._desired.version,
                act="run: hotnode raise-generation",
            )
            self._ahead = theirs

    async def _end_after(self, said: aiohttp.WSMessage) -> str:
        if said.type is aiohttp.WSMsgType.BINARY:
            return await self._break_off("a message is not text")
        if said.type is aiohttp.WSMsgType.ERROR and isinstance(said.data, aiohttp.WebSocketError):
            return f"it broke the protocol: {said.data}"
        return f"close code {self._socket.close_code}"

    async def _break_off(self, problem: str) -> str:
        log.error("site_broke_the_protocol", cluster=self.cluster, reason=problem)
        await self.end(problem, code=aiohttp.WSCloseCode.PROTOCOL_ERROR)
        return f"it broke the protocol: {problem}"


def _read(text: str) -> Observation | Offer | CallAnswer | None:
    """Return what a message says; None if it is of a kind that is not known."""
    found = site_link.read(text)
    match found:
        case None:
            return None
        case (_, SiteStatus() as status):
            return observed(status, now=time.time())
        case (_, (Offer() | CallAnswer()) as said):
            return said
        case (kind, _):
            raise ContractError(f"{kind.value} is not for an agent to say")


def _counts(demand: Demand | None) -> object:
    """Return the numbers of a demand without the mere passing of time."""
    models = demand.models if demand else ()
    return [(one.framework, one.model, one.waiting, one.running) for one in models]
