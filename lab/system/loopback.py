"""Ports on loopback that a server can come back to after a restart."""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000
_ATTEMPTS = 100


class NoFreePort(RuntimeError):
    """No port on loopback could be bound."""


def free_port() -> int:
    """Return a port on which nobody listens, outside the range of outgoing connections.

    The kernel takes the ports of outgoing connections from that range. While a server restarts,
    a client that tries again could be given the server's port, and keep the server from it.
    """
    highest = int(_OUTGOING.read_text(encoding="ascii").split()[0])
    # Seeded by the system: test runs that fix the seed must not all choose the same ports.
    choose = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = choose.randrange(_LOWEST, highest) if highest > _LOWEST else 0
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            bound: int = probe.getsockname()[1]
            return bound
    raise NoFreePort(f"{_ATTEMPTS} ports between {_LOWEST} and {highest} were tried on {HOST}")
