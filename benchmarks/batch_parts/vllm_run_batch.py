"""`vllm run-batch`: the engine's own client, in the engine's process, with the same arguments."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import yaml
from side_by_side.processes import descendants
from side_by_side.site import MODEL

from batch_parts.processor import cpu_s
from batch_parts.turn import Turn
from lab.engine import CHAT, CONFIGS, Model
from lab.processes import Child, Command, ProcessFailed, running
from lab.recipes import ENGINES
from lab.stand_in import clean_environment

WITHIN_S = 900.0
_POLL_S = 0.02
_TOLD = 2_000
#: What is for a server alone, with the value that follows or without.
_SERVERS = {"--enable-auto-tool-choice": 0, "--tool-call-parser": 1}
_BEGINS = "Reading batch from"


async def turn(folder: Path, source: Path) -> Turn:
    """Run the file; the clock runs from when the engine is ready until the last answer, by its log.

    Starting the engine is not counted. Reading the lines is: it parses the requests then, which
    others have the engine do when they ask.
    """
    await asyncio.to_thread(folder.mkdir, parents=True)
    log, output = folder / "run-batch.log", folder / "output.jsonl"
    command = Command(
        name="vllm run-batch",
        arguments=[*_arguments(), "-i", str(source), "-o", str(output)],
        log=log,
        environment=_environment(folder),
    )
    began = time.monotonic()
    async with running(command) as child:
        first = await _said(child, log, _BEGINS, began=began)
        used_s = _used_s(child)
        # Its bar rounds: 100 % are not all.
        last = await _said(child, log, f"| {(lines := _lines(source))}/{lines} [", began=began)
        used_s = _used_s(child) - used_s
        if await child.left(within_s=WITHIN_S):
            raise ProcessFailed(f"vllm run-batch failed:\n{_text(log)[-_TOLD:]}")
    answers = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return Turn(
        seconds=last - first,
        lines=len(answers),
        tokens=sum(answer["response"]["body"]["usage"]["total_tokens"] for answer in answers),
        whole_s=time.monotonic() - began,
        cpu_s=used_s,
    )


async def _said(child: Child, log: Path, words: str, *, began: float) -> float:
    """Return when it said something."""
    while words not in (text := _text(log)):
        if not child.running or time.monotonic() - began > WITHIN_S:
            raise ProcessFailed(f"vllm run-batch has not said '{words}':\n{text[-_TOLD:]}")
        await asyncio.sleep(_POLL_S)
    return time.monotonic()


def _used_s(child: Child) -> float:
    return sum(cpu_s(pid) for pid in descendants(child.pid))


def _lines(source: Path) -> int:
    with source.open("rb") as file:
        return sum(1 for _ in file)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _engine() -> dict[str, Any]:
    name = Model.named(CHAT).engine
    text = (CONFIGS / "engines" / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _arguments() -> list[str]:
    """Return the command with the arguments of a served model that concern the engine."""
    file = Model.named(CHAT).file
    model = yaml.safe_load(file.read_text(encoding="utf-8"))
    own, given = list[str](), iter(model["arguments"])
    for word in given:
        skipped = _SERVERS.get(word)
        if skipped is None:
            own.append(word)
        for _ in range(skipped or 0):
            next(given)
    path = (file.parent / model["path"]).resolve()
    program = ENGINES / Model.named(CHAT).engine / "bin" / "vllm"
    return [
        *(str(program), "run-batch", "--model", str(path), "--served-model-name", MODEL),
        *("--enforce-eager", "--scheduling-policy", "priority"),
        *("--distributed-executor-backend", "uni", *own),
    ]


def _environment(folder: Path) -> dict[str, str]:
    own = {
        name: str(value).format(runtime_dir=folder, engines_dir=ENGINES)
        for name, value in _engine()["environment"].items()
    }
    return clean_environment() | own
