"""Tells whoever started this process how it fares, by systemd's protocol (`sd_notify`).

systemd listens with `Type=notify`, our own supervisor always; without either nothing happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from resource_server.config import SettingInvalid

#: Where the listener is; an abstract socket begins with `@`.
VARIABLE = "NOTIFY_SOCKET"
_LONGEST_MESSAGE = 4096
#: The kernel keeps ten messages that were not read yet; more wait so long at the most (seconds).
_PATIENCE_S = 1.0

log = structlog.get_logger()


def notify_ready(environ: Mapping[str, str] = os.environ) -> None:
    """Say that this process serves."""
    _notify("READY=1", environ)


def notify_stopping(environ: Mapping[str, str] = os.environ) -> None:
    """Say that this process was told to end, and does."""
    _notify("STOPPING=1", environ)


def _notify(state: str, environ: Mapping[str, str]) -> None:
    """Say it if somebody listens: whatever is wrong with them, this process goes on."""
    address = environ.get(VARIABLE)
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(_PATIENCE_S)
            out.connect(address)
            out.sendall(f"{state}\nMAINPID={os.getpid()}".encode("ascii"))
    except OSError as error:
        log.warning("manager_not_told", state=state, address=address, reason=str(error))


class Notices:
    """What processes that we started say of themselves; `fileno` is readable when there is news."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener = listener
        self.environment = {VARIABLE: str(path)}

    def fileno(self) -> int:
        """Return what an event loop waits for."""
        return self._listener.fileno()

    def ready(self) -> Iterator[int]:
        """Yield the ids of the processes that have said since the last call that they serve."""
        while True:
            try:
                message = self._listener.recv(_LONGEST_MESSAGE)
            except BlockingIOError:
                return
            lines = dict(
                line.partition("=")[::2] for line in message.decode("ascii", "replace").splitlines()
            )
            if lines.get("READY") == "1" and lines.get("MAINPID", "").isdigit():
                yield int(lines["MAINPID"])


@contextmanager
def noticing(folder: Path) -> Iterator[Notices]:
    """Listen to processes that get `environment` of what is yielded.

    Nobody else may enter `folder`.
    """
    path = folder / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as listener:
        listener.setblocking(False)
        try:
            listener.bind(str(path))
        except OSError as error:
            # Longer than a socket's address may be, most likely.
            raise SettingInvalid(f"cannot listen at {path}: {error}") from error
        path.chmod(0o600)
        try:
            yield Notices(listener, path)
        finally:
            path.unlink(missing_ok=True)
