"""Configure, start and stop the Globus Compute endpoint that carries requests to this site.

    python -m compute_functions.endpoint configure --name NAME --user-dir DIR \
        --site-dir DIR --lock FILE [--email ADDRESS] [--templates slurm --site-config FILE]
    python -m compute_functions.endpoint start|stop|status --name NAME --user-dir DIR

A thin layer over `globus-compute-endpoint`: it renders the site's templates, never the agent's own
default, which downloads software for every user. Configuring again replaces the files and keeps
the endpoint's id. Starting what runs and stopping what does not are no errors. `start` runs the
agent as the Globus client of GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compute_functions import endpoint_files, globus_client, private_file, processes
from compute_functions.child_group import ended_if_given_up, started
from compute_functions.errors import ConfigurationError, EndpointFailed, SiteError
from compute_functions.function_lock import FunctionLock
from compute_functions.site_config.site_file import SiteConfig, load_file
from compute_functions.stubs import STUBS

#: Registering with the service is a few requests; stopping waits for requests under way (s).
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
#: A living agent touches its process file every 15 s.
FRESH_S = 60.0
#: Our note of the host on which the agent was last started.
_HOST = "hotnode.host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where an endpoint stands; `id` is empty before its first start."""

    name: str
    id: str
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of this host's agent, below the agent's directory `user_dir`.

    `environment` is the agent's: addresses and credentials of Globus come from there.
    """

    name: str
    user_dir: Path
    environment: Mapping[str, str]
    start_timeout_s: float = START_TIMEOUT_S
    stop_timeout_s: float = STOP_TIMEOUT_S

    @property
    def folder(self) -> Path:
        """The endpoint's own directory."""
        return self.user_dir.absolute() / self.name

    def configure(self, settings: endpoint_files.Settings) -> None:
        """Write the endpoint's files; an id from an earlier start stays."""
        endpoint_files.write(self.folder, settings, self.environment)

    async def start(self) -> Status:
        """Start the agent in the background, and return when the service knows it."""
        if not (self.folder / "config.yaml").exists():
            raise ConfigurationError(f"{self.folder} is not configured")
        status = self.status()
        if not status.running:
            # Without one the agent asks a person to log in, and nobody is there.
            globus_client.require(self.environment)
            self._clear_stale_pid()
            await self._agent("start", self.name, "--detach", timeout_s=self.start_timeout_s)
            await self._settled(running=True, timeout_s=self.start_timeout_s)
            private_file.write(self.folder / _HOST, socket.gethostname())
        return self.status()

    async def stop(self) -> Status:
        """Stop the agent and its user endpoints."""
        if self.status().running:
            await self._agent("stop", self.name, timeout_s=self.stop_timeout_s)
            await self._settled(running=False, timeout_s=self.stop_timeout_s)
        return self.status()

    def status(self) -> Status:
        """Look at the agent's files; the service is not asked."""
        pid = self._pid()
        running = pid is not None and processes.started(pid) is not None and self._is_fresh()
        return Status(name=self.name, id=self._id(), running=running)

    def _id(self) -> str:
        try:
            known = json.loads((self.folder / "endpoint.json").read_text())
        except FileNotFoundError:
            return ""
        except json.JSONDecodeError:
            # The agent writes it in place: it is not whole yet. Whoever waits looks again.
            return ""
        return str(known.get("endpoint_id", ""))

    def _pid(self) -> int | None:
        try:
            return int((self.folder / "daemon.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _is_fresh(self) -> bool:
        """Whether the process file was touched lately; its number may be another's by now."""
        try:
            touched = (self.folder / "daemon.pid").stat().st_mtime
        except FileNotFoundError:
            return False
        return time.time() - touched < FRESH_S

    def _clear_stale_pid(self) -> None:
        """Remove what an agent that was killed on this host left.

        With it the agent refuses to start for three heartbeats. On a home directory that several
        login nodes share it may be the sign of life of another node's agent: then it stays.
        """
        host = self.folder / _HOST
        if host.exists() and host.read_text() == socket.gethostname():
            (self.folder / "daemon.pid").unlink(missing_ok=True)

    async def _settled(self, *, running: bool, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while (status := self.status()).running != running or not status.id:  # noqa: ASYNC110 # another program writes the files and gives no sign
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            log = self.folder / "endpoint.log"
            raise EndpointFailed(
                f"{self.name} did not settle in {timeout_s:g} s; see {log}"
            ) from error

    async def _agent(self, *arguments: str, timeout_s: float) -> None:
        program = Path(sys.executable).parent / "globus-compute-endpoint"
        process = await started(
            asyncio.create_subprocess_exec(
                program,
                *arguments,
                env={**self.environment, "GLOBUS_COMPUTE_USER_DIR": str(self.user_dir.absolute())},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )
        try:
            async with ended_if_given_up(process), asyncio.timeout(timeout_s):
                said, _ = await process.communicate()
        except TimeoutError as error:
            raise EndpointFailed(
                f"{program.name} {arguments[0]} hung for {timeout_s:g} s"
            ) from error
        if process.returncode != 0:
            raise EndpointFailed(f"{program.name} {arguments[0]} failed:\n{said.decode()[-2000:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    endpoint = Endpoint(name=given.name, user_dir=given.user_dir, environment=dict(os.environ))
    try:
        match given.command:
            case "configure":
                lock = FunctionLock.read_written(given.lock)
                endpoint.configure(
                    endpoint_files.Settings(
                        templates=_templates(given.templates),
                        site_config=_site_config(given.site_config),
                        site_dir=given.site_dir,
                        allowed_functions=tuple(lock.allowed(STUBS)),
                        display_name=given.display_name or given.name,
                        email=given.email,
                        heartbeat_period=given.heartbeat_period,
                    )
                )
            case "start":
                asyncio.run(endpoint.start())
            case "stop":
                asyncio.run(endpoint.stop())
    except SiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    status = endpoint.status()
    sys.stdout.write(json.dumps({"name": status.name, "id": status.id, "running": status.running}))
    sys.stdout.write("\n")
    return 0


def _templates(given: str) -> Path:
    """Return the folder of the templates that came with us, or another one."""
    ours = endpoint_files.TEMPLATES / given
    return ours if ours.is_dir() else Path(given)


def _site_config(file: Path | None) -> SiteConfig | None:
    return None if file is None else load_file(file)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m compute_functions.endpoint", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("configure", "start", "stop", "status"):
        command = commands.add_parser(name)
        command.add_argument("--name", required=True, help="the endpoint's name on this host")
        command.add_argument("--user-dir", type=Path, required=True, help="the agent's directory")
        if name == "configure":
            command.add_argument(
                "--site-dir", type=Path, required=True, help="where launchers register instances"
            )
            command.add_argument(
                "--lock", type=Path, required=True, help="what compute_functions.register wrote"
            )
            command.add_argument(
                "--templates", default="local", help="local, slurm, or a folder; default: local"
            )
            command.add_argument(
                "--site-config", type=Path, help="the site's site.yaml; templates with jobs need it"
            )
            command.add_argument("--display-name", help="what Globus shows; default: the name")
            command.add_argument(
                "--email",
                help="of the operators; an agent that runs as root does not start without",
            )
            command.add_argument(
                "--heartbeat-period", type=float, default=30.0, help="seconds; default: %(default)s"
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
