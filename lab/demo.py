"""The whole service on this machine: install, start, log in, ask, stay up, stop everything.

    python -m lab demo [--exit] [--slurm [--power-off]]

With `--slurm` its models live on two real Slurm clusters.

Exit status: 0 if the answer was right; 1 if anything failed; 130 if it was stopped before it was
up.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import openai

from lab import engine, more_models, relays, screen
from lab.installing import installation
from lab.login import LoginFailed
from lab.processes import ProcessFailed
from lab.question import ask, jobs
from lab.recipes import ENGINES
from lab.service import Service, service
from lab.slurm_demo import play
from lab.streaming import Streamed, stream

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".hotnode" / "demo"
PERSON = "alice@example.org"
PORT = 8000
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPING = "ending everything that was started; it takes some seconds"


class Progress:
    """Tells a person how far the demo is, in lines with the time since its start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, what: str, news: str) -> None:
        """Print one line."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {what:9} {news}", flush=True)


class Busy(RuntimeError):
    """Another demo runs in this folder."""


def main(arguments: Sequence[str]) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="./hotnode demo", description="The service, here.")
    parser.add_argument("--exit", action="store_true", help="end after the answers")
    parser.add_argument("--slurm", action="store_true", help="models on two Slurm clusters")
    parser.add_argument(
        "--power-off", action="store_true", help="with --slurm: cut a node's power too"
    )
    options = parser.parse_args(arguments)
    if options.power_off and not options.slurm:
        parser.error("--power-off needs --slurm")
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    progress = Progress()
    try:
        with _only_one():
            if options.slurm:
                play.require_slurm()
            # Not in the loop: there pip would run on after Ctrl-C.
            chat = engine.Model.named(engine.CHAT).environment()
            installation.ensure(chat, partial(progress.say, "engine"))
            demo = _slurm_demo if options.slurm else _demo
            return asyncio.run(demo(progress, options))
    except (
        ProcessFailed,
        LoginFailed,
        Busy,
        play.SlurmMissing,
        installation.InstallFailed,
        aiohttp.ClientError,
        openai.OpenAIError,
    ) as no:
        print(f"demo: {no}", file=sys.stderr)
        return 1
    except TimeoutError as late:
        print(f"demo: a step took too long ({late}); the logs are below {FOLDER}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("demo: stopped before all of it was up", file=sys.stderr)
        return 130


async def _slurm_demo(progress: Progress, options: argparse.Namespace) -> int:
    _cancel_on_first_signal(progress)
    shutil.rmtree(FOLDER, ignore_errors=True)
    wishes = play.Wishes(
        person=PERSON,
        port=_port(),
        power_off=options.power_off,
        stay=None if options.exit else _until_cancelled,
    )
    right = await play.play(FOLDER, wishes, progress.say)
    progress.say("stop", _last_word(right=right))
    return 0 if right else 1


async def _demo(progress: Progress, options: argparse.Namespace) -> int:
    stay = not options.exit
    _cancel_on_first_signal(progress)
    shutil.rmtree(FOLDER, ignore_errors=True)
    async with _everything(progress) as running:
        token = await running.token_of(PERSON)
        progress.say("login", f"{PERSON}, with auth_helper/inference_auth_token.py")
        progress.say("jobs", await jobs(running.gateway.url, token))
        answer = await asyncio.to_thread(ask, running.tasks_url, token, engine.MODEL_ID)
        screen.show_answer(answer)
        chats = answer.right and (await _stream(running, token)).right
        right = chats and await show_more(progress, running, token, stay=stay)
        if not stay or not chats:
            progress.say("stop", STOPPING)
    progress.say("stop", _last_word(right=right))
    return 0 if right else 1


def _last_word(*, right: bool) -> str:
    return "done" if right else "done; not everything went right, see above"


async def _stream(running: Service, token: str) -> Streamed:
    """Print a streamed answer while it comes."""
    await relays.dialled(running.gateway, engine.MODEL_ID)
    screen.begin_stream()
    streamed = await asyncio.to_thread(
        stream, running.base_url, token, engine.MODEL_ID, screen.show_piece
    )
    screen.end_stream(streamed)
    return streamed


async def show_more(
    progress: Progress,
    running: Service,
    token: str,
    *,
    stay: bool,
    engines: Path = ENGINES,
) -> bool:
    """Show further models, while the chat can be used; tell whether they were right, in the end.

    The chat is in somebody's hands: with `stay` it goes on whatever becomes of these.
    """
    if stay:
        screen.invite(running, PERSON)
    site, log = running.folder / "site", running.folder.parent / "install-infinity.log"
    async with more_models.more_models(site, log, progress.say, engines=engines) as ready:
        shown = await more_models.show(running.gateway.url, token, ready)
        print("", *(line for one in shown for line in one.lines), "", sep="\n", flush=True)
        right = len(ready) == len(more_models.ALL) and all(one.right for one in shown)
        if stay:
            screen.invite_further(running, ready)
            await _until_cancelled()
    return right


@asynccontextmanager
async def _everything(progress: Progress) -> AsyncIterator[Service]:
    """Run engine and service beside the body; the engine, which is slowest, starts first."""
    site = FOLDER / "site"
    async with AsyncExitStack() as stack:
        # A launcher looks for it when it starts.
        (enrolment,) = await relays.enrol(site)
        launcher = await stack.enter_async_context(engine.launched(site))
        progress.say("engine", "vLLM is starting (about 25 seconds of processor time)")
        running = await stack.enter_async_context(
            service(FOLDER, site, enrolment=enrolment, say=progress.say, port=_port())
        )
        await engine.wait_ready(launcher, site)
        progress.say("engine", f"{engine.MODEL_ID} answers on a private socket")
        try:
            yield running
        finally:
            launcher.terminate()  # The engine and the endpoint, both slow to end, end together.


def _cancel_on_first_signal(progress: Progress) -> None:
    """Let the first SIGINT or SIGTERM cancel this task; later ones do not disturb the stopping."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, lambda: None)
        progress.say("stop", STOPPING)
        if task is not None:
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)


async def _until_cancelled() -> None:
    """Wait for the signal, and take it as the wish to stop that it is."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if task := asyncio.current_task():
            task.uncancel()


def _port() -> int:
    """Return the port that people expect, or 0 for any if another program has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return 0 if probe.connect_ex(("127.0.0.1", PORT)) == 0 else PORT


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold this folder's demo for the body."""
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with (FOLDER.parent / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy("another demo runs in this folder; stop it first") from error
        yield
