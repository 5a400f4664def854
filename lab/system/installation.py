"""Installs Debian packages without starting what is in them: files arrive, no service runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

#: Maintainer scripts ask it whether they may start a service; 101 means no.
_POLICY = Path("usr/sbin/policy-rc.d")
_OURS = "# There while Hotnode installs packages for its tests."
_DENY = f"#!/bin/sh\n{_OURS}\nexit 101\n"
#: Read by postgresql-common before it makes a cluster for a new version.
_CLUSTERS = Path("etc/postgresql-common/createcluster.d/hotnode-tests.conf")
_NO_CLUSTER = f"{_OURS}\ncreate_main_cluster = false\n"
#: Where systemd notes what starts with the machine.
_BOOT = Path("etc/systemd/system")
#: Bare machines have no package lists, and a mirror may be slow.
_WITHIN_S = 1800.0


class InstallationFailed(RuntimeError):
    """apt-get could not do what it was asked."""


def install(command: Sequence[str], services: Collection[str], root: Path = Path("/")) -> None:
    """Update the package lists and run `apt-get install …`; raises `InstallationFailed`.

    Of these services, those that become enabled are disabled, so that they do not start with the
    machine either. What was enabled before stays so.
    """
    with quiet(root), not_enabled(services, root):
        for arguments in (["apt-get", "update"], command):
            _run(arguments)


@contextmanager
def not_enabled(services: Collection[str], root: Path = Path("/")) -> Iterator[None]:
    """Disable those of the services that the body enables.

    As `systemctl disable` does it, which a machine without systemd lacks: without the link, also
    the package takes the service for disabled by its operator, and leaves it so.
    """
    before = _enabled(services, root)
    try:
        yield
    finally:
        for link in _enabled(services, root) - before:
            link.unlink()


def _enabled(services: Collection[str], root: Path) -> set[Path]:
    return {link for link in (root / _BOOT).glob("*.wants/*") if link.name in services}


@contextmanager
def quiet(root: Path = Path("/")) -> Iterator[None]:
    """Keep packages that are installed meanwhile from starting or creating anything."""
    with ExitStack() as stack:
        stack.enter_context(_replaced(root / _POLICY, _DENY, mode=0o755))
        stack.enter_context(_replaced(root / _CLUSTERS, _NO_CLUSTER, mode=0o644))
        yield


@contextmanager
def _replaced(path: Path, text: str, *, mode: int) -> Iterator[None]:
    """Put a file in place, and afterwards the one (or none) that was there before."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = path.with_name(f"{path.name}.hotnode-kept")
    if _is(path) and not _is_left_over(path):
        path.rename(kept)
    try:
        path.write_text(text, encoding="ascii")
        path.chmod(mode)
        yield
    finally:
        path.unlink()
        if _is(kept):
            kept.rename(path)
        for folder in made:
            # The package may have put files of its own into it.
            if not any(folder.iterdir()):
                folder.rmdir()


def _is(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_left_over(path: Path) -> bool:
    """Whether an installation that was killed has left the file."""
    return path.is_file() and _OURS.encode() in path.read_bytes()


def _run(arguments: Sequence[str]) -> None:
    # Questions of maintainer scripts would wait for a terminal that is not there.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(arguments, env=environment, check=True, timeout=_WITHIN_S)  # noqa: S603 # our own list
    except (OSError, subprocess.SubprocessError) as error:
        raise InstallationFailed(str(error)) from error
