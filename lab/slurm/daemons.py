"""The daemons that belong to no node: munged, which vouches for users, and the controller."""

from __future__ import annotations

import secrets
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import descent
from lab.slurm import sweeper
from lab.slurm.configuration import Files
from lab.slurm.programs import Programs
from lab.system import account, loopback
from lab.system.server import Launch

_READY_WITHIN_S = 30.0
_CONNECT_WITHIN_S = 1.0
_KEY_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemons:
    """How they are run."""

    files: Files
    programs: Programs
    #: The controller's.
    port: int

    def sweeper(self) -> Launch:
        """Return what removes the cluster's folder in the end."""
        command = descent.command("lab.slurm.sweeper", str(self.files.home))
        return self._launch("sweeper", command, waits_for=self.files.home / sweeper.READY)

    def munged(self) -> Launch:
        """Return the cluster's own munged, with a key that nobody else has."""
        key = self.files.home / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(_KEY_BYTES))
        command = [
            *(str(self.programs.munged), "--foreground", "--force", "--num-threads=2"),
            *(f"--key-file={key}", f"--socket={self.files.munge_socket}"),
            *(
                f"--pid-file={self.files.run}/munged.pid",
                f"--seed-file={self.files.run}/munge.seed",
            ),
            f"--log-file={self.files.logs}/munged.log",
        ]
        return self._launch("munged", command, waits_for=self.files.munge_socket)

    def slurmctld(self) -> Launch:
        """Return the controller; killed, it loses at most what it did in the last seconds."""
        # With `-i` it begins without a state; one that is there it reads all the same.
        command = account.current().run(
            str(self.programs.slurmctld), "-D", "-i", at_our_death=signal.SIGKILL
        )
        return Launch(
            directory=self.files.home,
            command=self.files.command("slurmctld", command),
            ready=lambda _: _listens(self.port),
            within_s=_READY_WITHIN_S,
        )

    def _launch(self, name: str, arguments: Sequence[str], *, waits_for: Path) -> Launch:
        return Launch(
            directory=self.files.home,
            command=self.files.command(name, arguments),
            ready=lambda _: waits_for.exists(),
            within_s=_READY_WITHIN_S,
        )


def _listens(port: int) -> bool:
    try:
        socket.create_connection((loopback.HOST, port), timeout=_CONNECT_WITHIN_S).close()
    except OSError:
        return False
    return True
