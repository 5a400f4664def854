"""What a process does before it serves: checks its surroundings, tells Django its settings."""

from __future__ import annotations

import ctypes
import difflib
import gc
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings as django_settings

from resource_server import settings as django_module
from resource_server.config import Role, SettingInvalid, Settings
from resource_server.store.connection import connection_settings

#: How long requests under way may take to finish when a process is told to stop (seconds).
GRACE_S = 30
#: Each call under way takes a file in a web process and one in the hub.
FILES = 65_536
_PR_SET_PDEATHSIG = 1
PREFIX = "HOTNODE_"
#: Variables with our prefix that belong to the login helper and to a site.
NOT_OURS = ("HOTNODE_AUTH_", "HOTNODE_SITE_DIR", "HOTNODE_ENGINES_DIR")


def refuse_unknown_settings(environ: Mapping[str, str]) -> None:
    """Raise `SettingInvalid` for a misspelt setting, which would otherwise silently do nothing.

    A policy or a domain that is not applied leaves the gateway open.
    """
    known = {name.upper() for name in Settings.model_fields}
    for variable in environ:
        name = variable.removeprefix(PREFIX)
        if name == variable or name in known or variable.startswith(NOT_OURS):
            continue
        # Without the prefix, which all have in common: nothing but a slip is guessed.
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
        raise SettingInvalid(f"{variable} is no setting of the gateway{hint}")


class StandInRefused(RuntimeError):
    """The environment points at a stand-in for Globus, and nobody said that this is meant."""


def refuse_stand_in(settings: Settings, environ: Mapping[str, str]) -> None:
    """Raise `StandInRefused` if Globus is not Globus and `local_globus` is not set.

    A stand-in admits whom it likes, so a gateway that trusts one by accident is open.
    """
    if settings.local_globus:
        return
    addresses = {k: v for k, v in environ.items() if k.startswith("GLOBUS_SDK_SERVICE_URL_")}
    foreign = [name for name, url in addresses.items() if not _is_globus(url)]
    if environ.get("GLOBUS_SDK_ENVIRONMENT") == "local":
        foreign.append("GLOBUS_SDK_ENVIRONMENT")
    if foreign:
        raise StandInRefused(
            f"{', '.join(sorted(foreign))} points at a stand-in for Globus. "
            "Unset it, or say that this is meant: serve --local-globus"
        )


def _is_globus(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == "globus.org" or host.endswith(".globus.org"))


def refuse_unfit_role(settings: Settings, role: Role) -> None:
    """Raise `SettingInvalid` if a role lacks what it shares with the other processes.

    The hub holds nothing that others must see, and does without both, unless it takes relays: who
    may dial in stands in the catalog.
    """
    missing = []
    reads_catalog = role in (Role.WEB, Role.CONTROLLER) or (
        role is Role.HUB and settings.relay_port
    )
    if reads_catalog and settings.read_database_url() is None:
        missing.append("HOTNODE_DATABASE_URL (PostgreSQL)")
    if role is Role.WEB and settings.read_redis_url() is None:
        missing.append("HOTNODE_REDIS_URL (Redis)")
    if missing:
        raise SettingInvalid(
            f"The role {role} shares its state with other processes, and needs "
            f"{' and '.join(missing)}. One process that does everything needs neither."
        )


def configure_django(settings: Settings, role: Role = Role.ALL) -> None:
    """Tell Django our settings. Does nothing if it was told before."""
    if django_settings.configured:
        return
    values: dict[str, Any] = {
        name: value for name, value in vars(django_module).items() if name.isupper()
    }
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.read_database_url() is None:
        _keep_private(settings.database_path)
    values |= {
        "SECRET_KEY": settings.read_secret_key(),
        "ALLOWED_HOSTS": list(settings.allowed_hosts),
        "CONTACT": settings.contact,
        "DATABASES": {"default": connection_settings(settings, role)},
    }
    django_settings.configure(**values)
    django.setup()


def _keep_private(database: Path) -> None:
    """Let nobody else read the file of SQLite, which gives its journals the same mode."""
    database.touch(mode=0o600, exist_ok=True)
    database.chmod(0o600)


def spare_the_collector() -> None:
    """Keep what lives as long as the process out of the garbage collector's rounds.

    Measured at 16 connections: 8 % less processor time, and half the 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def raise_limit_of_files() -> None:
    """Let the process open as many files as it may: the usual soft limit is 1,024 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def end_with(supervisor: int) -> None:
    """Have the kernel ask this process to end when its parent does; without one, end now."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != supervisor:
        raise SystemExit(1)
