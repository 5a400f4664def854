"""Plays the scenes one after the other, and stays up afterwards if that is wished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from lab.service import Say
from lab.slurm_demo import scenes
from lab.slurm_demo.batch import batch
from lab.slurm_demo.scenes import Show
from lab.slurm_demo.stage import BIRCH, COLD, plan
from lab.slurm_sites.service import SlurmSites, slurm_sites
from lab.system import packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the person wants to see, and how long."""

    person: str
    port: int
    power_off: bool = False
    #: Waits until the person has seen enough; None to end after the scenes.
    stay: Callable[[], Awaitable[None]] | None = None


class SlurmMissing(RuntimeError):
    """Slurm is not installed on this machine."""

    def __init__(self, missing: list[packages.Package]) -> None:
        names = ", ".join(package.name for package in missing)
        super().__init__(f"not installed: {names}. As root:\n  {packages.line(missing)}")


def require_slurm() -> None:
    """Raise `SlurmMissing`, with what to type, unless Slurm is there."""
    missing = [package for package in packages.SLURM if package.found() is None]
    if missing:
        raise SlurmMissing(missing)


async def play(folder: Path, wishes: Wishes, say: Say) -> bool:
    """Run two sites and show them; tell whether everything went right."""
    async with slurm_sites(folder, plan(), say=say, port=wishes.port) as running:
        token = await running.token_of(wishes.person)
        say("login", f"{wishes.person}, with auth_helper/inference_auth_token.py")
        show = Show(running=running, token=token, say=say)
        say("agents", "the gateway starts each site's agent by a Globus Compute task")
        await scenes.come_up(show)
        right = [await scenes.answer(show)]
        await scenes.jobs(show)
        right.append(await batch(show))
        right += [await scenes.cold(show), await scenes.rollover(show)]
        await scenes.jobs(show)
        if wishes.power_off:
            right.append(await scenes.power_off(show))
        if wishes.stay is not None:
            _invite(running, wishes.person)
            await wishes.stay()
        say("stop", "ending everything that was started; it takes some seconds")
    return all(right)


def _invite(running: SlurmSites, person: str) -> None:
    """Print what to try next."""
    token = running.write_token_command(person)
    site = running.sites[BIRCH]
    conf = site.cluster.environment()["SLURM_CONF"]
    body = (
        f'{{"model": "{COLD}", "stream": true, "messages": [{{"role": "user", "content": "Hi"}}]}}'
    )
    print(
        f"""
  It is up. The base URL is  {running.base_url()}

  a stream, with the comments that tell how its model stands:

curl -sN {running.base_url()}/chat/completions \\
    -H "Authorization: Bearer $({token})" -H "Content-Type: application/json" \\
    -d '{body}'

  a batch, with a bar; it says how to fetch the answers:

export OPENAI_BASE_URL={running.base_url()} OPENAI_API_KEY=$({token})
./hotnode batch submit {running.folder}/questions.jsonl --watch

  what runs, as callers see it and as Slurm does:

curl -s {running.gateway.url}/resource_server/{BIRCH}/jobs -H "Authorization: Bearer $({token})"
SLURM_CONF={conf} squeue -o '%i %j %T %N %L %k'

  let another walltime end (JOBID from squeue), and watch what the agent does:

SLURM_CONF={conf} scontrol update JobId=JOBID EndTime=now+60
tail -f {site.agent_log}

  Ctrl-C stops everything.
""",
        flush=True,
    )
