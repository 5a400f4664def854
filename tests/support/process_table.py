"""Who listens on a socket, and who belongs to a session: the kernel's word, not our files'."""

from __future__ import annotations

import socket
import struct
from pathlib import Path


def listener(path: str | Path) -> int:
    """Return the number of the process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        size = struct.calcsize("3i")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, _, _ = struct.unpack("3i", credentials)
    return int(pid)


def session(leader: int) -> set[int]:
    """Return the numbers of the living processes in the session that `leader` began."""
    members = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
        state, session_id = fields[0], int(fields[3])
        if session_id == leader and state != "Z":
            members.add(int(folder.name))
    return members
