"""A TCP port of this host's loopback: found, and shown to be held by whom it should be.

A port is everybody's: between the moment when a launcher finds one free and the moment when its
engine listens, any program of any user can take it, and again when the engine dies. So nobody sends
a key or a prompt to a port before the kernel has said who listens there.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

HOST = "127.0.0.1"
_ENDPOINT = re.compile(rf"http://{re.escape(HOST)}:(\d+)")
#: How /proc/net/tcp writes 127.0.0.1, and the state of a socket that listens.
_ADDRESS, _LISTENS = "0100007F", "0A"


def free() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def endpoint(port: int) -> str:
    """Return the address of a port, as a registration names it."""
    return f"http://{HOST}:{port}"


def of(address: str) -> int | None:
    """Return the port of an address of `endpoint`; None for a socket or another host."""
    found = _ENDPOINT.fullmatch(address)
    return int(found.group(1)) if found else None


def held(port: int) -> bool:
    """Whether anybody listens on the port."""
    return any(True for _ in _listeners(port))


def held_by_us(port: int) -> bool:
    """Whether a process of this very user listens on the port."""
    return any(uid == os.getuid() for uid, _ in _listeners(port))


def held_by_session(port: int, leader: int) -> bool:
    """Whether the process `leader`, or another of the session that it began, listens there."""
    wanted = {f"socket:[{inode}]" for _, inode in _listeners(port)}
    return bool(wanted) and any(wanted & _open_files(pid) for pid in _session(leader))


def _listeners(port: int) -> Iterator[tuple[int, str]]:
    """Yield the user and the socket's number of who listens there."""
    place = f"{_ADDRESS}:{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1] == place and fields[3] == _LISTENS:
            yield int(fields[7]), fields[9]


def _session(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _session_of(int(entry.name)) == leader:
            yield int(entry.name)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None  # It ended just now, or it is none of ours.


def _open_files(pid: int) -> set[str]:
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()  # It ended just now, or it is none of ours.
    return {target for link in links if (target := _target(link))}


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        # Closed since it was listed, or none of ours: a root without CAP_SYS_PTRACE may list what a
        # process with more capabilities has open, and not see what it is.
        return ""
