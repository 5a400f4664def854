"""What the demo makes of further models that fail: the chat, which somebody uses, goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from lab import demo, more_models
from lab.gateway import Gateway
from lab.processes import Command, running
from lab.service import Service
from lab.stand_in import StandIn
from tests.support import agreeable_engine
from tests.support.eventually import eventually

Told = Callable[[], str]


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """Return where neither engine is installed, nor infinity can be: its lock is no file."""
    folder = tmp_path / "engines"
    (folder / "infinity.lock").mkdir(parents=True)
    return folder


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Return what returns all that was printed until now."""
    parts: list[str] = []

    def until_now() -> str:
        parts.append(capsys.readouterr().out)
        return "".join(parts)

    return until_now


@pytest_asyncio.fixture
async def service(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Service]:
    """Yield a service whose gateway does not answer."""
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    command = Command(
        name="the gateway",
        arguments=[sys.executable, "-c", "import signal; signal.pause()"],
        log=tmp_path / "gateway.log",
        environment={},
    )
    folder = tmp_path / "demo"
    folder.mkdir()
    async with running(command) as process:
        yield Service(
            folder=folder,
            globus=StandIn(url=nowhere, folder=folder),
            gateway=Gateway(url=nowhere, folder=folder, process=process),
        )


async def test_a_further_model_is_ready_though_another_cannot_be_installed(
    tmp_path: Path, engines: Path
) -> None:
    agreeable_engine.install(engines / "vllm-cpu" / "bin" / "vllm")
    said: list[str] = []
    log = tmp_path / "install.log"
    async with more_models.more_models(
        tmp_path / "site", log, lambda _, news: said.append(news), engines=engines
    ) as ready:
        assert ready == (more_models.LISTENER,)

    (left_out,) = [news for news in said if "is left out" in news]
    assert f"infinity could not be installed (1); see {log}" in left_out
    assert "IsADirectoryError" in log.read_text()


async def test_the_demo_stays_with_the_chat_alone(
    service: Service, engines: Path, told: Told
) -> None:
    showing = asyncio.create_task(
        demo.show_more(demo.Progress(), service, "token", stay=True, engines=engines)
    )
    await eventually(lambda: showing.done() or "Ctrl-C stops everything.\n\n" in told(), seconds=60)
    assert not showing.done()
    assert "All but all-minilm and tiny-whisper is up" in told()
    assert "is the engine installed?" in told()
    showing.cancel()

    assert await showing is False


async def test_without_staying_a_model_that_is_left_out_is_a_failure(
    service: Service, engines: Path, told: Told
) -> None:
    right = await demo.show_more(demo.Progress(), service, "token", stay=False, engines=engines)

    assert right is False
    assert told().count("is left out") == len(more_models.ALL)


async def test_a_model_that_does_not_answer_is_said_and_not_right(service: Service) -> None:
    (shown,) = await more_models.show(service.gateway.url, "token", [more_models.LISTENER])

    assert "hotnode/tiny-whisper did not answer: Connection error." in shown.lines[0]
    assert not shown.right
