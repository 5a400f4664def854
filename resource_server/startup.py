"""What a process does before it serves: checks its surroundings, tells Django its settings."""

from __future__ import annotations

import difflib
import gc
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings as django_settings

from resource_server import settings as django_module
from resource_server.config import SettingInvalid, Settings

#: Variables with our prefix that belong to the login helper and to a site.
NOT_OURS = ("HOTNODE_AUTH_", "HOTNODE_SITE_DIR", "HOTNODE_ENGINES_DIR")


def refuse_unknown_settings(environ: Mapping[str, str]) -> None:
    """Raise `SettingInvalid` for a misspelt setting, which would otherwise silently do nothing.

    A policy or a domain that is not applied leaves the gateway open.
    """
    known = {f"HOTNODE_{name.upper()}" for name in Settings.model_fields}
    for name in environ:
        if name.startswith("HOTNODE_") and name not in known and not name.startswith(NOT_OURS):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise SettingInvalid(f"{name} is no setting of the gateway{hint}")


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


def configure_django(settings: Settings) -> None:
    """Tell Django our settings. Does nothing if it was told before."""
    if django_settings.configured:
        return
    values: dict[str, Any] = {
        name: value for name, value in vars(django_module).items() if name.isupper()
    }
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    values |= {
        "SECRET_KEY": settings.read_secret_key(),
        "ALLOWED_HOSTS": list(settings.allowed_hosts),
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": settings.database_path,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            }
        },
    }
    django_settings.configure(**values)
    django.setup()


def spare_the_collector() -> None:
    """Keep what lives as long as the process out of the garbage collector's rounds.

    Measured at 16 connections: 8 % less processor time, and half the 99th percentile.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
