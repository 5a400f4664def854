"""Debian's packages of the servers that tests run: what is missing, and how to install it.

`python -m lab.system.packages` says what is missing and ends with 1. With `--install`, as root, it
installs that, and nothing else: no service is started and no PostgreSQL cluster is created.

It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.system import installation

_APT = ("apt-get", "install", "--yes", "--no-install-recommends")


class PackageMissing(RuntimeError):
    """A server is not installed on this machine."""

    def __init__(self, package: Package) -> None:
        self.package = package
        super().__init__(f"{package.name} is not installed. Install it with: {line([package])}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Debian package, where it puts its program (a pattern below `/`), what it has started."""

    name: str
    program: str
    services: tuple[str, ...] = ()

    def found(self, root: Path = Path("/")) -> Path | None:
        """Return the program of the newest version that is installed, if any is."""
        installed = [path for path in root.glob(self.program) if os.access(path, os.X_OK)]
        return max(installed, key=_version, default=None)

    def find(self) -> Path:
        """Return the program; raises `PackageMissing`."""
        program = self.found()
        if program is None:
            raise PackageMissing(self)
        return program


# Its service starts clusters, and none is created.
POSTGRESQL = Package(name="postgresql", program="usr/lib/postgresql/*/bin/postgres")
REDIS = Package(
    name="redis-server", program="usr/bin/redis-server", services=("redis-server.service",)
)
# The program itself: the one in /usr/sbin changes to an account of its own.
RABBITMQ = Package(
    name="rabbitmq-server",
    program="usr/lib/rabbitmq/bin/rabbitmq-server",
    services=("rabbitmq-server.service", "epmd.service", "epmd.socket"),
)
MUNGE = Package(name="munge", program="usr/sbin/munged", services=("munge.service",))
# Their plugins (slurm-wlm-basic-plugins) hold no program; each of them depends on these.
SLURMCTLD = Package(name="slurmctld", program="usr/sbin/slurmctld", services=("slurmctld.service",))
SLURMD = Package(name="slurmd", program="usr/sbin/slurmd", services=("slurmd.service",))
SLURM_CLIENT = Package(name="slurm-client", program="usr/bin/squeue")
SLURM = (MUNGE, SLURMCTLD, SLURMD, SLURM_CLIENT)
ALL = (POSTGRESQL, REDIS, RABBITMQ, *SLURM)


def missing(root: Path = Path("/")) -> list[Package]:
    """Return the packages whose program is not there."""
    return [package for package in ALL if package.found(root) is None]


def line(wanted: Iterable[Package]) -> str:
    """Return what to type as root to install these packages."""
    return " ".join(command(wanted))


def command(wanted: Iterable[Package]) -> Sequence[str]:
    """Return the arguments that install these packages."""
    return [*_APT, *(package.name for package in wanted)]


def main(
    arguments: list[str] | None = None, *, root: Path = Path("/"), uid: int | None = None
) -> int:
    """Check or install, and return the exit status: 0 if everything is there, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lab.system.packages", description=__doc__)
    parser.add_argument("--install", action="store_true", help="install what is missing; as root")
    wanted, install = missing(root), parser.parse_args(arguments).install
    if not wanted:
        return 0
    if not install:
        return _refused("The tests need servers that are not installed. As root:", line(wanted))
    if (os.geteuid() if uid is None else uid) != 0:
        return _refused("Only root can install packages. As root:", line(wanted))
    return _install(wanted, root)


def _install(wanted: list[Package], root: Path) -> int:
    services = [service for package in wanted for service in package.services]
    try:
        installation.install(command(wanted), services, root)
    except installation.InstallationFailed as error:
        return _refused("The packages could not be installed:", str(error))
    still = ", ".join(package.name for package in missing(root))
    return _refused("Installed, but not where it is looked for:", still) if still else 0


def _refused(what: str, detail: str) -> int:
    print(f"{what}\n  {detail}", file=sys.stderr)
    return 1


def _version(program: Path) -> list[int]:
    return [int(part) for part in program.parts if part.isdigit()]


if __name__ == "__main__":
    sys.exit(main())
