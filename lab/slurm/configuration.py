"""Slurm's configuration files for one cluster of the lab, by the version that reads them."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.processes import Command
from lab.slurm.network import Network, free_ports
from lab.slurm.plan import CPUS, GPU_TYPE, MEMORY_MB, Plan
from lab.system.server import environment

_SLURM = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={run}/munge.socket,cred_expire={requeue_s}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/%n.pid
SlurmctldLogFile={logs}/slurmctld.log
SlurmdLogFile={logs}/%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={logs}/jobs.log
MailProg=/bin/true

# Nothing of this machine is configured, limited or measured: no cgroups, no binding, no MPI.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE

# The nodes have what is written here, whatever this machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=512
{gres_types}

# Quick decisions: a job starts within a second or two. Walltimes are looked at every 30 s; no
# setting changes that.
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,bf_resolution=10,sched_interval=2,sched_min_interval=100000
PriorityType=priority/multifactor
PriorityWeightPartition=1000
KillWait={kill_wait_s}
SlurmdTimeout={node_timeout_s}
SlurmctldTimeout=30
MessageTimeout={message_timeout_s}
BatchStartTimeout=20
MinJobAge=300
CompleteWait=0
InactiveLimit=0
OverTimeLimit=0
JobRequeue=1
# A node that was down is up again when its daemon says so.
ReturnToService=2

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=DEFAULT Nodes=ALL State=UP MaxTime=7-0 DefaultTime=10
PartitionName=gpu Default=YES PriorityTier=10 PreemptMode=OFF
PartitionName=hot PriorityTier=100 PreemptMode=OFF
PartitionName=on-demand PriorityTier=5 PreemptMode=CANCEL GraceTime={grace_s}
PartitionName=scavenge PriorityTier=1 PreemptMode=REQUEUE
"""
#: Before it, `disabled` is unknown. `cgroup/v1` touches nothing where no plugin uses cgroups.
_DISABLED_SINCE = (23, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a cluster keeps what.

    `home` must be short: the paths of Unix sockets below it may have 107 characters.
    """

    home: Path
    logs: Path

    @classmethod
    def made(cls, home: Path, folder: Path, plan: Plan) -> Self:
        """Make the folders, and files that Slurm takes for GPUs."""
        files = cls(home=home, logs=folder.absolute() / plan.name / "logs")
        for each in (files.run, files.configuration.parent, home / "state", files.devices):
            each.mkdir()
        for node in plan.node_names:
            (home / "spool" / node).mkdir(parents=True)
        # A GPU must look like a device; its number is read from the name.
        for number in range(plan.gpus):
            (files.devices / f"gpu{number}").symlink_to("/dev/null")
        files.logs.mkdir(parents=True, exist_ok=True)
        return files

    @property
    def run(self) -> Path:
        """The folder of sockets and process numbers."""
        return self.home / "run"

    @property
    def configuration(self) -> Path:
        """What `SLURM_CONF` names; the other files are beside it."""
        return self.home / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        """Where the cluster's own munged listens."""
        return self.run / "munge.socket"

    @property
    def devices(self) -> Path:
        """The folder of the GPUs' device files."""
        return self.home / "dev"

    def command(self, name: str, arguments: Sequence[str]) -> Command:
        """Return how a process of the cluster is run; nothing of ours configures it."""
        return Command(
            name=name,
            arguments=arguments,
            log=self.logs / f"{name}.console.log",
            environment={**environment(self.home), "SLURM_CONF": str(self.configuration)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the files say."""

    plan: Plan
    files: Files
    network: Network
    controller_port: int
    node_ports: list[int]
    version: tuple[int, int]

    @classmethod
    def drawn(cls, plan: Plan, files: Files, network: Network, *, version: tuple[int, int]) -> Self:
        """Return a configuration with free ports for every daemon."""
        controller, *nodes = free_ports(1 + plan.nodes)
        return cls(
            plan=plan,
            files=files,
            network=network,
            controller_port=controller,
            node_ports=nodes,
            version=version,
        )

    def write(self) -> None:
        """Write the files."""
        for name, text in self.texts().items():
            path = self.files.configuration.with_name(name)
            path.write_text(text, encoding="utf-8")

    def texts(self) -> Mapping[str, str]:
        """Return the text of each file."""
        disabled = self.version >= _DISABLED_SINCE
        return {
            "slurm.conf": "\n".join([self._slurm(), *self._nodes(), ""]),
            "gres.conf": "".join(self._gres()),
            "cgroup.conf": f"CgroupPlugin={'disabled' if disabled else 'cgroup/v1'}\n",
        }

    def _slurm(self) -> str:
        clocks = self.plan.clocks
        return _SLURM.format(
            name=self.plan.name,
            host=_host(),
            user=_user(),
            port=self.controller_port,
            home=self.files.home,
            run=self.files.run,
            logs=self.files.logs,
            gres_types="GresTypes=gpu" if self.plan.gpus else "",
            kill_wait_s=clocks.kill_wait_s,
            node_timeout_s=clocks.node_timeout_s,
            message_timeout_s=clocks.message_timeout_s,
            requeue_s=clocks.requeue_s,
            grace_s=clocks.grace_s,
        )

    def _nodes(self) -> list[str]:
        gres = f" Gres=gpu:{GPU_TYPE}:{self.plan.gpus}" if self.plan.gpus else ""
        return [
            f"NodeName={name} NodeHostname={_host()} NodeAddr={self.network.address(number)} "
            f"Port={port} CPUs={CPUS} RealMemory={MEMORY_MB}{gres}"
            for number, (name, port) in enumerate(
                zip(self.plan.node_names, self.node_ports, strict=True), start=1
            )
        ]

    def _gres(self) -> list[str]:
        if not self.plan.gpus:
            return []
        devices = f"{self.files.devices}/gpu[0-{self.plan.gpus - 1}]"
        return [
            f"NodeName={name} Name=gpu Type={GPU_TYPE} File={devices}\n"
            for name in self.plan.node_names
        ]


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _user() -> str:
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)  # Containers run as accounts that nobody has entered.
