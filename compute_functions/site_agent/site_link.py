"""The agent's link to one hub: it hears what is desired and by whom, and tells what there is."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Protocol

import aiohttp
from aiohttp.http import WSCloseCode
from yarl import URL

from compute_functions.contract import ContractError, Demand, DesiredState, SiteStatus, site_link
from compute_functions.contract.site_calls import CallAnswer, Offer, SiteCall
from compute_functions.contract.site_link import Accepted, MessageKind, Said
from compute_functions.errors import ConfigurationError, HubRefused, LinkFailed, ProtocolBroken
from compute_functions.relay.credentials import CredentialSource
from compute_functions.relay.dialling import Dialler
from compute_functions.relay.redialling import Redialling, close_as_broken
from compute_functions.relay.times import Times
from compute_functions.site_agent.answering import Answering
from compute_functions.site_agent.calls import Calls

log = logging.getLogger("hotnode.site_agent")

#: What is longer is read or written in a thread (characters, instances).
_THREAD_FROM, _THREAD_FROM_INSTANCES = 64 * 1024, 200
#: Changes that follow each other closer than this are told together (seconds).
TOGETHER_S = 0.1


class Agent(Protocol):
    """Whom the links serve."""

    @property
    def observation(self) -> SiteStatus | None:
        """What there is now; None before the agent has looked for the first time."""
        ...

    def wish(self, said: DesiredState | Demand) -> None:
        """Take what a hub says."""
        ...


class SiteLink:
    """Keeps one hub connected, from `run` until its cancellation; calls functions for it."""

    def __init__(
        self,
        hub: URL,
        *,
        agent: Agent,
        credentials: CredentialSource,
        times: Times,
        calls: Calls | None = None,
        silent_s: float = site_link.SILENT_AFTER_S,
    ) -> None:
        self._hub = hub
        self._agent = agent
        self._calls = calls or Calls({})
        self._redialling = Redialling(hub, credentials=credentials, times=times, log=log)
        self._times = times
        self._silent_s = silent_s
        self._changed = asyncio.Event()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether the hub has taken the link, and it holds."""
        return self._is_open

    def tell(self) -> None:
        """Tell the hub soon what there is: it has changed."""
        self._changed.set()

    async def run(self, dialler: Dialler) -> None:
        """Keep the link until cancelled."""
        while True:
            pause_s = await self._attempt(dialler)
            await asyncio.sleep(pause_s)

    async def _attempt(self, dialler: Dialler) -> float:
        """Open a link and keep it to its end; return the pause before the next (seconds)."""
        try:
            socket = await dialler.dial(self._hub, await self._redialling.token())
            try:
                await self._serve(socket)
            except (ProtocolBroken, ContractError) as error:
                await close_as_broken(socket, error)
                raise
            finally:
                self._is_open = False
                await socket.close(code=WSCloseCode.GOING_AWAY)
        except HubRefused as refused:
            return self._redialling.refused("site_link_refused", refused)
        except (LinkFailed, ConfigurationError, ContractError) as error:
            self._redialling.tell("site_link_failed", error)
        return self._redialling.ended()

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Hear and tell on an open WebSocket; ends with a `LinkFailed` or a `ContractError`."""
        said = await _heard(socket, within_s=self._times.dial_s)
        if said is None or said[0] is not MessageKind.ACCEPT:
            raise ProtocolBroken("another message, where the hub must accept")
        self._take(said[1])
        self._is_open = True
        self._redialling.opened()
        log.info("site_link_open hub=%s", self._hub)
        answering = Answering(self._calls, partial(self._send, socket))
        telling = asyncio.create_task(self._tell_on(socket), name="site link tells")
        hearing = asyncio.create_task(self._hear_on(socket, answering), name="site link hears")
        try:
            await asyncio.wait({telling, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, hearing):
                task.cancel()
            await asyncio.wait({telling, hearing})
            await answering.close()
        for task in (hearing, telling):
            if not task.cancelled():
                task.result()

    async def _hear_on(self, socket: aiohttp.ClientWebSocketResponse, answering: Answering) -> None:
        while True:
            said = await _heard(socket, within_s=self._silent_s)
            match said:
                case (_, SiteCall() as call):
                    answering.begin(call)
                case (_, other):
                    self._take(other)

    async def _tell_on(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        offer = Offer(functions=self._calls.names)
        await self._send(socket, site_link.message(MessageKind.OFFER, offer))
        while True:
            self._changed.clear()
            observation = self._agent.observation
            if observation is not None:
                await self._tell(socket, observation)
            await asyncio.sleep(TOGETHER_S)
            await _within(self._changed, site_link.HEARTBEAT_S - TOGETHER_S)

    async def _tell(self, socket: aiohttp.ClientWebSocketResponse, observation: SiteStatus) -> None:
        # Writing down thousands of instances would hold up the other links.
        is_long = len(observation.instances) > _THREAD_FROM_INSTANCES
        write = partial(site_link.message, MessageKind.OBSERVED, observation)
        await self._send(socket, await asyncio.to_thread(write) if is_long else write())

    async def _send(self, socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
        try:
            async with asyncio.timeout(self._silent_s):
                await socket.send_str(text)
        except (ConnectionError, TimeoutError) as error:
            raise LinkFailed(f"the hub takes nothing: {error!r}") from error

    def _take(self, said: Said) -> None:
        match said:
            case Accepted():
                self._redialling.bearer.renewed(said.session, said.session_s)
            case DesiredState() | Demand():
                self._agent.wish(said)
            case SiteCall():
                raise ProtocolBroken("a call before the link was taken")
            case SiteStatus() | Offer() | CallAnswer():
                raise ProtocolBroken("a hub that speaks as an agent does")


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return  # Nothing has changed, which is what the caller wants to say then.


async def _heard(
    socket: aiohttp.ClientWebSocketResponse, *, within_s: float
) -> tuple[MessageKind, Said] | None:
    """Return the next message; None if it is of a kind that is not known."""
    try:
        async with asyncio.timeout(within_s):
            said = await socket.receive()
    except TimeoutError as error:
        raise LinkFailed(f"the hub was silent for {within_s:g} s") from error
    if said.type is aiohttp.WSMsgType.TEXT:
        if len(said.data) > _THREAD_FROM:
            return await asyncio.to_thread(site_link.read, said.data)
        return site_link.read(said.data)
    if said.type is aiohttp.WSMsgType.CLOSE:
        raise LinkFailed(f"the hub ended it with {said.data} {said.extra}")
    if said.type is aiohttp.WSMsgType.BINARY:
        raise ProtocolBroken("a message that is not text")
    raise LinkFailed(f"the connection was cut ({socket.close_code})")
