"""Where the gateway listens: the socket, and the file that says so."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resource_server.config import SettingInvalid, Settings

#: Connections that wait while all processes are busy, or none is there for a moment.
BACKLOG = 2048


def bind(settings: Settings) -> socket.socket:
    """Return a socket that listens as the settings say, or raise `SettingInvalid`."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingInvalid(
            f"cannot listen at {settings.host}:{settings.port}: {error}"
        ) from error


@contextmanager
def announced(state_dir: Path, listener: socket.socket) -> Iterator[None]:
    """Have a file say address and process id: with port 0, the port stands nowhere else.

    For a process that has the directory to itself, or for all that use it: the file has one name.
    """
    file = state_dir / "gateway.json"
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    draft = file.with_suffix(".tmp")
    draft.write_text(
        json.dumps({"url": f"http://{shown}:{port}", "pid": os.getpid()}), encoding="utf-8"
    )
    draft.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
