"""A network of loopback for one cluster, so that each of its nodes has an address of its own.

All of 127.0.0.0/8 is this machine. Whoever uses 127.A.B.0/24 holds a name in the kernel's abstract
namespace of Unix sockets, which the kernel frees when the holder ends, however it ends.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.system import loopback

_ATTEMPTS = 100


class NoFreeNetwork(RuntimeError):
    """Every network of loopback that was tried is in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The first three numbers of the addresses, as `127.20.7`."""

    prefix: str

    def address(self, number: int) -> str:
        """Return the address of node `number`, counted from 1."""
        return f"{self.prefix}.{number}"


@contextmanager
def reserved() -> Iterator[Network]:
    """Lend a network that no other cluster of any lab on this machine uses."""
    # Seeded by the system: test runs that fix the seed must not all begin at the same place.
    choose = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        # Not 127.0, where ordinary services and Debian's own host name live.
        network = Network(prefix=f"127.{choose.randrange(1, 255)}.{choose.randrange(256)}")
        with socket.socket(socket.AF_UNIX) as holder:
            try:
                holder.bind(f"\0hotnode-slurm-{network.prefix}")
            except OSError:
                continue
            yield network
            return
    raise NoFreeNetwork(f"{_ATTEMPTS} networks of loopback were tried")


def free_ports(count: int) -> list[int]:
    """Return that many different ports."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(loopback.free_port())
    return list(ports)
