"""Who listens on a socket, and who belongs to a session: the kernel's word, not our files'."""

from __future__ import annotations

import socket
import struct
from pathlib import Path


def listener(path: str | Path) -> int:
    """Return the number of the process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return peer(connection)


def peer(connection: socket.socket) -> int:
    """Return the number of the process at the other end of a Unix socket."""
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


def descendants(ancestor: int) -> set[int]:
    """Return the numbers of the living processes that `ancestor` began, and of theirs."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended while we looked.
        if fields[0] != "Z":
            parents[int(folder.name)] = int(fields[1])
    found: set[int] = set()
    generation = {ancestor}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found |= generation
    return found


def open_files(process: int) -> int:
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
