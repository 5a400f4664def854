"""What is said of an engine that does not answer its probe."""

from __future__ import annotations

from pathlib import Path

from compute_functions.engine_client import Engine
from compute_functions.engine_probe import EngineProbe
from tests.support.engine_doubles import EngineThatHangsUp, listening
from tests.support.launches import launch


async def health(folder: Path, socket: Path) -> str:
    engine = Engine(endpoint=str(socket), api_key="k")
    return await EngineProbe(launch(folder).engine, engine, leader=0).health()


async def test_an_engine_that_hangs_up(tmp_path: Path) -> None:
    async with listening(EngineThatHangsUp()) as socket:
        words = await health(tmp_path, socket)
    assert words == "GET /health: it hangs up without a whole answer"


async def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    assert await health(tmp_path, tmp_path / "gone.sock") == "GET /health: nobody answers"
