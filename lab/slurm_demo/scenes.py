"""The demo's scenes: each shows one thing, says what it means, and tells whether it went right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import openai

from compute_functions.contract import Instance, InstanceState
from lab.question import EXPECTED, QUESTION
from lab.service import Say
from lab.slurm_demo import overhearing
from lab.slurm_demo.stage import ASPEN, BIRCH, COLD, COUNTER, EVERY_S, HOT, WORDS
from lab.slurm_sites.service import SlurmSites
from lab.slurm_sites.site import SlurmSite
from lab.streaming import ENDING, REQUEST

#: An engine may take so long on a busy machine (seconds).
READY_WITHIN_S = 330.0
#: The walltime is made to end in so long (seconds): later than the stream that is under way.
ENDS_IN_S = 60
#: Before the rollover the stream has begun (seconds).
BEGUN_S = 2.0
_LOOK_S = 0.1
_PAUSE_S = 0.2
_ALIVE = (
    InstanceState.QUEUED,
    InstanceState.STARTING,
    InstanceState.READY,
    InstanceState.DRAINING,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What every scene has: the service, whoever asks, and where lines go."""

    running: SlurmSites
    token: str
    say: Say

    def site(self, name: str) -> SlurmSite:
        """Return one of the two."""
        return self.running.sites[name]


async def come_up(show: Show) -> None:
    """Show how hot models come without anybody asking for them."""
    show.say("hot", f"nobody asks, and {HOT} is started: its file says `min: 1`")
    followed = ((ASPEN, HOT), (BIRCH, COUNTER))
    await asyncio.gather(*(_followed(show, show.site(name), model) for name, model in followed))


async def answer(show: Show) -> bool:
    """Ask the hot model a question."""

    def ask() -> str:
        with overhearing.client(show.running.base_url(), show.token) as opened:
            said = opened.chat.completions.create(
                model=HOT,
                messages=[{"role": "user", "content": QUESTION}],
                temperature=0,
                max_tokens=40,
            )
        return said.choices[0].message.content or ""

    text = await asyncio.to_thread(ask)
    print(f"\n  you    {QUESTION}\n  model  {text}\n", flush=True)
    return EXPECTED in text


async def jobs(show: Show) -> None:
    """Show what /jobs tells of each site."""
    headers = {"Authorization": f"Bearer {show.token}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as session:
        for name in show.running.sites:
            path = f"/resource_server/{name}/jobs"
            async with session.get(show.running.gateway.url + path) as response:
                said = await response.json()
            for job in [*said["running"], *said["queued"]]:
                where = f"job {job['Job ID']} on {job['Host Name'] or 'no node yet'}"
                ends = f", ends {job['Ends At']}" if job.get("Ends At") else ""
                show.say("jobs", f"{name}: {job['Models']} is {job['Model State']}, {where}{ends}")


async def cold(show: Show) -> bool:
    """Ask for a model that has no instance: the stream says how it stands, and then begins."""
    show.say("cold", f"{COLD} has no instance, and the openai SDK asks for a stream.")
    show.say("cold", "Comments come, which the SDK passes over; here they are:")
    comments: list[str] = []

    def hear(comment: str) -> None:
        if "state=" in comment:
            comments.append(comment)
            show.say("cold", f"  : {comment}")

    def ask() -> overhearing.Told:
        with overhearing.client(show.running.base_url(), show.token, hear) as opened:
            return overhearing.stream(opened, COLD, REQUEST, show=_print_piece)

    print(f"\n  you    {REQUEST}\n", flush=True)
    told = await asyncio.to_thread(ask)
    print(f"\n\n  first token after {told.first_s:.1f} s, {told.pieces} pieces\n", flush=True)
    await _tell_what_was_learnt(show)
    return told.text.endswith(ENDING) and any("state=" in one for one in comments)


async def rollover(show: Show) -> bool:
    """Let a walltime end under a stream and short questions, which should not notice."""
    site = show.site(BIRCH)
    (old,) = site.instances(InstanceState.READY, model=COUNTER)
    seconds = WORDS * EVERY_S
    show.say("rollover", f"a stream of {seconds:.0f} s begins at {COUNTER}, on {old.host};")
    show.say("rollover", "short questions are asked all the time")
    callers = _Callers(show)
    async with asyncio.TaskGroup() as tasks:
        stream = tasks.create_task(asyncio.to_thread(callers.count))
        asking = tasks.create_task(callers.keep_asking())
        await asyncio.sleep(BEGUN_S)
        await site.expire(old, in_s=ENDS_IN_S)
        show.say("rollover", f"Slurm is told: the walltime of job {old.job_id} ends in a minute")
        new = await _successor(site, old)
        taken_over = time.monotonic()
        show.say(
            "rollover", f"job {new.job_id} on {new.host} is ready, and takes all new requests;"
        )
        show.say("rollover", f"job {old.job_id} drains: it waits for the stream that it has")
        told = await stream
        outlasted = time.monotonic() - taken_over
        callers.over.set()
        await asking
    await _until(lambda: _is_gone(site, old), what=f"the end of job {old.job_id}")
    whole = "whole" if told.pieces == WORDS else "CUT"
    words = f"{told.pieces} of {WORDS} words, the last {outlasted:.0f} s after the take-over"
    show.say("rollover", f"the stream was {whole}: {words}")
    show.say("rollover", f"short questions: {callers.told()}; job {old.job_id} is gone")
    return told.pieces == WORDS and not callers.failed and len(callers.nodes) > 1


async def power_off(show: Show) -> bool:
    """Cut the power of the hot model's node, and watch it come again on another."""
    site = show.site(BIRCH)
    old = site.instances(InstanceState.READY, model=COUNTER)[-1]
    show.say("power", f"{old.host} loses its power now; Slurm itself will not notice for 30 s")
    began = time.monotonic()
    await site.cluster.power_off(old.host)
    new = await _successor(site, old)
    show.say(
        "power", f"job {new.job_id} on {new.host} serves, after {time.monotonic() - began:.1f} s"
    )
    await site.cluster.power_on(old.host)
    show.say("power", f"{old.host} is on again")
    return new.host != old.host


@dataclass(slots=True)
class _Callers:
    """Who asks while a rollover goes on, and what came of it."""

    show: Show
    over: asyncio.Event = field(default_factory=asyncio.Event)
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    nodes: dict[str, int] = field(default_factory=dict)

    def count(self) -> overhearing.Told:
        """Hear a long stream to its end."""
        own: dict[str, object] = {"tokens": WORDS, "every_s": EVERY_S}
        with overhearing.client(self.show.running.base_url(), self.show.token) as opened:
            return overhearing.stream(opened, COUNTER, "Count.", own=own)

    async def keep_asking(self) -> None:
        """Ask one short question after the other."""
        async with openai.AsyncOpenAI(
            base_url=self.show.running.base_url(), api_key=self.show.token, max_retries=0
        ) as opened:
            while not self.over.is_set():
                await self._ask(opened)
                await asyncio.sleep(_PAUSE_S)

    def told(self) -> str:
        """Return in words what came of the short questions."""
        where = ", ".join(f"{number} from {node}" for node, number in sorted(self.nodes.items()))
        failed = f"{len(self.failed)} failed" + (f" ({self.failed[0]})" if self.failed else "")
        return f"{self.answered} answered ({where}), {failed}"

    async def _ask(self, opened: openai.AsyncOpenAI) -> None:
        try:
            said = await opened.chat.completions.create(
                model=COUNTER, messages=[{"role": "user", "content": "Count."}]
            )
        except openai.OpenAIError as error:
            self.failed.append(str(error))
            return
        self.answered += 1
        node = said.system_fingerprint or ""
        self.nodes[node] = self.nodes.get(node, 0) + 1


async def _followed(show: Show, site: SlurmSite, model: str) -> None:
    """Say each step of a model's first instance, until it is ready."""
    seen = ""

    def is_ready() -> bool:
        nonlocal seen
        for one in site.instances(*_ALIVE, model=model):
            step = f"{one.state.value} {one.stage or ''}".strip()
            if step != seen:
                seen = step
                where = f"job {one.job_id} on {one.host}" if one.host else f"job {one.job_id}"
                show.say("hot", f"{site.name}: {model} is {step}, {where}")
        return bool(site.instances(InstanceState.READY, model=model))

    await _until(is_ready, what=f"{model} at {site.name}")


async def _successor(site: SlurmSite, old: Instance) -> Instance:
    """Wait until another instance than this one is ready, and return it."""

    def others() -> list[Instance]:
        ready = site.instances(InstanceState.READY, model=old.model)
        return [one for one in ready if one.name != old.name]

    await _until(lambda: bool(others()), what=f"another instance of {old.model}")
    return others()[0]


async def _until(happened: Callable[[], bool], *, what: str) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while not happened():  # noqa: ASYNC110 # the site's files are all that tells
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise TimeoutError(f"{what}: not within {READY_WITHIN_S:g} s") from None


def _is_gone(site: SlurmSite, old: Instance) -> bool:
    alive = site.instances(*_ALIVE, model=old.model)
    return site.status() is not None and all(one.name != old.name for one in alive)


async def _tell_what_was_learnt(show: Show) -> None:
    site = show.site(BIRCH)

    def load_s() -> list[float]:
        status = site.status()
        outlooks = status.outlooks if status else ()
        found = (one.load_s for one in outlooks if one.model == COLD)
        return [seconds for seconds in found if seconds is not None]

    await _until(lambda: bool(load_s()), what=f"{BIRCH} learns how long {COLD} takes to load")
    learnt = f"{BIRCH} has learnt that it takes {load_s()[0]:.0f} s to load"
    show.say("cold", f"{learnt}: the next who waits is told an estimate")


def _print_piece(piece: str) -> None:
    print(piece, end="", flush=True)
