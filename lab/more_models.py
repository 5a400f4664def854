"""What the demo shows after the chat: embeddings by infinity, and a sound that Whisper writes down.

Their engines start, and the one that is not installed yet is installed, while the chat can be used.
What fails on the way is said, and left out.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from lab import engine, tones
from lab.processes import Child, Command, ProcessFailed, running
from lab.question import TIMEOUT_S
from lab.recipes import ENGINES
from lab.service import Say
from lab.stand_in import clean_environment

EMBEDDER, LISTENER = "all-minilm", "tiny-whisper"
ALL = (EMBEDDER, LISTENER)
#: pip, on a slow line (seconds).
INSTALL_WITHIN_S = 1800.0
#: Two sentences that say the same, and one that does not.
TEXTS = (
    "The job waits until a node is free.",
    "All nodes are busy, so your job is queued.",
    "Oslo is the capital of Norway.",
)
KEYS = "458073"
HEARD = "four five eight zero seven three"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One thing that was shown, in lines to print, and whether it was right."""

    lines: tuple[str, ...]
    right: bool


@asynccontextmanager
async def more_models(
    site: Path, log: Path, say: Say, *, engines: Path = ENGINES
) -> AsyncIterator[tuple[str, ...]]:
    """Run the embedding and the speech model at a site beside the body, and yield what is ready.

    Why one of `ALL` is not ready was said.
    """
    async with AsyncExitStack() as stack:
        listener = engine.launched(site, LISTENER, engines=engines)
        launchers = {LISTENER: await stack.enter_async_context(listener)}
        say("engine", "more models: Whisper on vLLM is starting, and infinity for embeddings")
        if await _done(EMBEDDER, _install(engines, log, say), say):
            embedder = engine.launched(site, EMBEDDER, engines=engines)
            launchers[EMBEDDER] = await stack.enter_async_context(embedder)
        try:
            yield await _ready(launchers, site, say)
        finally:
            _end_together(*launchers.values())


async def show(gateway_url: str, token: str, names: Collection[str]) -> tuple[Shown, ...]:
    """Ask these of `ALL` what they can do, with the openai SDK, below `/v1`."""
    base_url = f"{gateway_url}/v1"
    wanted = [name for name in ALL if name in names]
    return tuple([await asyncio.to_thread(_shown, name, base_url, token) for name in wanted])


def write_sound(folder: Path) -> Path:
    """Write the sound that Whisper is asked to write down, for people to try it themselves."""
    path = folder / "keys.wav"
    path.write_bytes(tones.wav(KEYS))
    return path


async def _ready(launchers: Mapping[str, Child], site: Path, say: Say) -> tuple[str, ...]:
    ready = []
    for name in ALL:
        launcher = launchers.get(name)
        if launcher and await _done(name, engine.wait_ready(launcher, site, name), say):
            say("engine", f"{engine.Model.named(name).id} is ready")
            ready.append(name)
    return tuple(ready)


async def _done(name: str, step: Awaitable[None], say: Say) -> bool:
    """Take a step of one model; if it fails say why, so that the others can go on."""
    try:
        await step
    except (ProcessFailed, TimeoutError) as error:
        reason = str(error) or "it took too long"
        say("engine", f"{engine.Model.named(name).id} is left out: {reason}")
        return False
    return True


async def _install(engines: Path, log: Path, say: Say) -> None:
    home = engine.Model.named(EMBEDDER).environment(engines)
    if home.is_current():
        return
    say("engine", f"infinity is being installed, 1.4 GB, some minutes; see {log}")
    command = Command(
        name="the installation of infinity",
        arguments=[
            *("nice", sys.executable, "-m", "lab.infinity.install"),
            *("--target", str(home.folder)),
        ],
        log=log,
        environment=clean_environment(),
    )
    async with running(command) as installer:
        if status := await installer.left(within_s=INSTALL_WITHIN_S):
            raise ProcessFailed(f"infinity could not be installed ({status}); see {log}")


def _end_together(*launchers: Child) -> None:
    for launcher in launchers:
        launcher.terminate()


def _shown(name: str, base_url: str, token: str) -> Shown:
    ask = {EMBEDDER: _embeddings, LISTENER: _transcription}[name]
    try:
        return ask(base_url, token)
    except openai.OpenAIError as error:
        model = engine.Model.named(name).id
        return Shown(lines=(f"  {model} did not answer: {error}",), right=False)


def _embeddings(base_url: str, token: str) -> Shown:
    model = engine.Model.named(EMBEDDER).id
    with openai.OpenAI(base_url=base_url, api_key=token, timeout=TIMEOUT_S) as client:
        answer = client.embeddings.create(model=model, input=list(TEXTS))
    first, alike, unlike = (entry.embedding for entry in answer.data)
    near, far = _cosine(first, alike), _cosine(first, unlike)
    return Shown(
        lines=(
            f"  embeddings of {len(first)} numbers by {model}",
            f"    {TEXTS[0]}",
            f"    {near:5.2f}  {TEXTS[1]}",
            f"    {far:5.2f}  {TEXTS[2]}",
        ),
        right=near > far,
    )


def _transcription(base_url: str, token: str) -> Shown:
    model = engine.Model.named(LISTENER).id
    with openai.OpenAI(base_url=base_url, api_key=token, timeout=TIMEOUT_S) as client:
        answer = client.audio.transcriptions.create(
            model=model, file=("keys.wav", tones.wav(KEYS)), language="en"
        )
    text = answer.text.strip()
    return Shown(
        lines=(
            f"  the sound of a telephone's keys {' '.join(KEYS)}, written down by {model}",
            f"    {text}",
        ),
        right=text == HEARD,
    )


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))
