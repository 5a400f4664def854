"""What may befall a service: each kills one process with -9, or a node."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from compute_functions.contract import Instance
from lab import lifecycle_engine
from lab.slurm_sites.service import SlurmSites
from lab.slurm_sites.site import SlurmSite
from lifecycle_parts.stand import WORKERS

_JOB = "compute_functions.instance_job"


class NotThere(RuntimeError):
    """There is no such process."""


def kill_agent(site: SlurmSite) -> None:
    """Kill the site's agent."""
    holder = site.agent()
    if holder is None:
        raise NotThere(f"the agent of {site.name}")
    os.kill(holder.pid, signal.SIGKILL)


def kill_instance_job(site: SlurmSite, instance: Instance) -> None:
    """Kill the process of an instance's job, in which the relay is; its engine loses its parent."""
    _kill_on_node(site, instance, _JOB, instance.name)


def kill_engine(site: SlurmSite, instance: Instance) -> None:
    """Kill an instance's engine."""
    _kill_on_node(site, instance, Path(lifecycle_engine.__file__).name, instance.model)


def kill_gateway(running: SlurmSites) -> None:
    """Kill the gateway's first process: web processes, hub and controller end with it."""
    _kill(running.gateway.unit.main_pid, "the gateway")


def kill_process(running: SlurmSites, name: str) -> None:
    """Kill one of the gateway's processes: `hub`, `controller`, `web-1` and so on."""
    os.kill(process(running, name), signal.SIGKILL)


def busiest_web(running: SlurmSites) -> str:
    """Return the name of the web process that holds the most callers."""
    names = [f"web-{number}" for number in range(1, WORKERS + 1)]
    return max(names, key=lambda name: _open_files(process(running, name)))


def process(running: SlurmSites, name: str) -> int:
    """Return the id of one of the gateway's processes."""
    found = running.gateway.served(name)
    if not found:
        raise NotThere(f"the gateway's {name}")
    return found[-1]


def kill_endpoint(site: SlurmSite) -> None:
    """Kill the endpoint's agent; as under systemd, what it started goes with it."""
    _kill(site.endpoint.main_pid, f"the endpoint of {site.name}")


def processes_on(site: SlurmSite, node: str, *words: str) -> list[int]:
    """Return the processes of a node whose command line has all these words."""
    return [
        pid
        for pid in sorted(site.cluster.processes(node))
        if all(word in _command(pid) for word in words)
    ]


def _kill_on_node(site: SlurmSite, instance: Instance, *words: str) -> None:
    """Kill the processes on an instance's node whose command line has all these words."""
    found = processes_on(site, instance.host, *words)
    if not found:
        raise NotThere(f"{' '.join(words)} on {instance.host}")
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _open_files(pid: int) -> int:
    """Return how many files a process has open: each caller is one, and one in the hub."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kill(pid: int | None, what: str) -> None:
    if pid is None:
        raise NotThere(what)
    os.kill(pid, signal.SIGKILL)
