"""What one site may cost the hub, and what of an agent counts that was replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from compute_functions.contract import site_link
from compute_functions.contract.site_link import MessageKind
from resource_server.adapters.relay.gatekeeper import SiteAdmission
from resource_server.adapters.site_link.link import THREAD_FROM, LinkTimes, SiteLink
from resource_server.services.site_board import SiteBoard
from tests.support.site_links import instance, status


class GatekeeperThatIssues:
    """Gives a session to whoever asks."""

    def site_session(self, admission: SiteAdmission) -> tuple[str, float]:
        return "session", 3600.0


class SocketWithOneMessage:
    """Brings one message; after it nothing until it is closed."""

    close_code = 1001

    def __init__(self, text: str) -> None:
        self._messages = [aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None)]
        self.read = asyncio.Event()
        self._closed = asyncio.Event()

    async def receive(self, within_s: float) -> aiohttp.WSMessage:
        if self._messages:
            self.read.set()
            return self._messages.pop()
        await self._closed.wait()
        return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)

    async def send_str(self, text: str) -> None:
        return

    async def close(self, **said: Any) -> None:
        self._closed.set()


def link_of(socket: Any, board: SiteBoard) -> SiteLink:
    keeper: Any = GatekeeperThatIssues()
    return SiteLink(
        socket,
        None,
        admission=SiteAdmission(cluster="local", key="k"),
        board=board,
        gatekeeper=keeper,
        times=LinkTimes(),
    )


def long_report() -> str:
    many = status(*(instance(job_id=str(at)) for at in range(3000)))
    text = site_link.message(MessageKind.OBSERVED, many)
    assert len(text) > THREAD_FROM
    return text


async def test_a_report_that_was_being_read_when_another_agent_came_is_dropped():
    board, socket = SiteBoard("hub"), SocketWithOneMessage(long_report())
    link = link_of(socket, board)
    running = asyncio.create_task(link.run())
    await socket.read.wait()
    await link.end("another agent of the site has linked")
    await running
    assert board.known() == {}


async def test_else_it_is_taken():
    board, socket = SiteBoard("hub"), SocketWithOneMessage(long_report())
    running = asyncio.create_task(link_of(socket, board).run())
    await board.changes.after({"local": 0}, within_s=20)
    assert len(board.known()["local"].instances) == 3000
    await socket.close()
    await running


def test_reading_a_site_takes_a_tenth_of_the_time_at_most():
    times = LinkTimes()
    assert times.pause_s(0.0001) == times.together_s
    assert times.pause_s(0.2) == 0.2 * 9
    # It need not be taken for gone.
    assert times.pause_s(60.0) == times.heartbeat_s
