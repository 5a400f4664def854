"""A real Slurm cluster on one machine, from Debian's packages: `async with slurm_cluster(…)`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lab.slurm import isolation as isolations
from lab.slurm import network as networks
from lab.slurm.client import Access, Client
from lab.slurm.configuration import Configuration, Files
from lab.slurm.daemons import Daemons
from lab.slurm.isolation import Isolation
from lab.slurm.node import Hardware, Node
from lab.slurm.plan import Clocks, Plan
from lab.slurm.programs import Programs
from lab.system.server import Server

_UP_WITHIN_S = 30.0
#: Slurm asks a node that was lost about its last job again after a minute (seconds).
_ON_WITHIN_S = 120.0


class SlurmCluster(Client):
    """A running cluster: what a person on its login node can do, and what befalls its machines."""

    def __init__(
        self, access: Access, *, name: str, controller: Server, nodes: Mapping[str, Node]
    ) -> None:
        super().__init__(access)
        self.name = name
        self._controller = controller
        self._nodes = nodes

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names, in order."""
        return tuple(self._nodes)

    @property
    def isolation(self) -> Isolation:
        """What the nodes are made of on this machine."""
        return next(iter(self._nodes.values())).hardware.isolation

    def address(self, node: str) -> str:
        """Return a node's own address on loopback."""
        return self._nodes[node].hardware.address

    def processes(self, node: str) -> set[int]:
        """Return the process numbers of all that runs on a node, as this machine counts them."""
        return self._nodes[node].processes()

    async def power_off(self, node: str) -> None:
        """Cut a node's power: everything on it is gone when this returns.

        Slurm is not told: it says RUNNING until the node's time is over (20 to 35 s, by `Clocks`).
        """
        await self._nodes[node].power_off()

    async def power_on(self, node: str) -> None:
        """Switch a node on again, and wait until Slurm gives it jobs."""
        await self._nodes[node].power_on()
        await self.until_nodes([node], "idle", "mixed", "allocated", within_s=_ON_WITHIN_S)

    async def partition(self, node: str) -> None:
        """Cut a node off from Slurm; what runs on it goes on."""
        await self._nodes[node].unplug()

    async def rejoin(self, node: str) -> None:
        """End a partition; jobs that Slurm has given up meanwhile are killed."""
        await self._nodes[node].plug()

    async def stop_controller(self) -> None:
        """Stop slurmctld: jobs go on, Slurm's commands fail or wait."""
        await self._controller.stop()

    async def kill_controller(self) -> None:
        """Kill slurmctld: what it did in the last seconds may be forgotten."""
        _kill(self._controller)
        await self._controller.stop()

    async def start_controller(self) -> None:
        """Start slurmctld again, with its state, and wait until it answers."""
        await self._controller.start()
        await self.run("scontrol", "ping")


@asynccontextmanager
async def slurm_cluster(
    folder: Path,
    *,
    name: str = "lab",
    nodes: int = 4,
    gpus: int = 4,
    clocks: Clocks | None = None,
    isolation: Isolation | None = None,
) -> AsyncIterator[SlurmCluster]:
    """Run a new cluster beside the body; its logs and its jobs' output are in `folder`/`name`.

    Raises `PackageMissing`. Several may run side by side: each has its own key, network and ports.
    """
    plan = Plan(name=name, nodes=nodes, gpus=gpus, clocks=clocks or Clocks())
    programs = Programs.find()
    with _home() as home, networks.reserved() as network:
        files = Files.made(home, folder, plan)
        configuration = Configuration.drawn(plan, files, network, version=programs.version)
        configuration.write()
        machines = _machines(configuration, programs, isolation or isolations.best())
        daemons = Daemons(files=files, programs=programs, port=configuration.controller_port)
        access = Access(
            configuration=files.configuration, programs=programs.clients, home=files.logs.parent
        )
        async with _controlled(daemons) as controller, _switched_on(machines.values()):
            cluster = SlurmCluster(access, name=name, controller=controller, nodes=machines)
            await cluster.until_nodes(cluster.nodes, "idle", within_s=_UP_WITHIN_S)
            yield cluster


@contextmanager
def _home() -> Iterator[Path]:
    # Not in the caller's folder: the paths of Unix sockets must be short.
    home = Path(tempfile.mkdtemp(prefix="hotnode-slurm-"))
    try:
        yield home
    finally:
        # Gone already, unless its sweeper did not start.
        shutil.rmtree(home, ignore_errors=True)


def _machines(
    configuration: Configuration, programs: Programs, isolation: Isolation
) -> dict[str, Node]:
    hardware = (
        Hardware(
            name=name,
            address=configuration.network.address(number),
            slurmd=programs.slurmd,
            isolation=isolation,
            files=configuration.files,
        )
        for number, name in enumerate(configuration.plan.node_names, start=1)
    )
    return {each.name: Node(each) for each in hardware}


@asynccontextmanager
async def _controlled(daemons: Daemons) -> AsyncIterator[Server]:
    async with (
        Server.started(daemons.sweeper()),
        Server.started(daemons.munged()),
        Server.started(daemons.slurmctld()) as controller,
    ):
        try:
            yield controller
        finally:
            # Asked, it would look for its nodes for seconds; its state is for nobody.
            _kill(controller)


@asynccontextmanager
async def _switched_on(nodes: Collection[Node]) -> AsyncIterator[None]:
    try:
        await asyncio.gather(*(node.power_on() for node in nodes))
        yield
    finally:
        await asyncio.gather(*(node.power_off() for node in nodes))


def _kill(server: Server) -> None:
    if server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)
