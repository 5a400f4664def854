from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from tests.support.loops import LoopThatIsLeftEmpty


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def loop_with_a_connection(listener: socket.socket) -> LoopThatIsLeftEmpty:
    loop = LoopThatIsLeftEmpty()
    loop.run_until_complete(loop.create_connection(asyncio.Protocol, *listener.getsockname()))
    return loop


def test_every_test_runs_in_such_a_loop():
    async def of_what_kind() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    assert asyncio.run(of_what_kind()) is LoopThatIsLeftEmpty


def test_a_connection_that_nobody_ends_is_named(listener: socket.socket):
    loop = loop_with_a_connection(listener)
    loop.patience_s = 0.0
    there, _ = listener.accept()
    with there, pytest.warns(ResourceWarning, match=r"left open: .*asyncio\.protocols\.Protocol"):
        loop.close()
    assert loop.is_closed()


def test_a_connection_whose_other_end_was_just_closed_is_no_fault(listener: socket.socket):
    loop = loop_with_a_connection(listener)
    there, _ = listener.accept()
    there.close()
    loop.close()
    assert loop.is_closed()
