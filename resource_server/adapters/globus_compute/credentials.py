"""The gateway's confidential Globus clients: one small file each, one client per cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import structlog

from resource_server.config import SettingInvalid, read_client

log = structlog.get_logger()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FOR_OTHERS = 0o077


def unusable(directory: Path, clients: Mapping[str, str]) -> dict[str, str]:
    """Return of `clients`, by cluster, why each one cannot be used that cannot."""
    reasons = {}
    for cluster, name in clients.items():
        try:
            ClientCredentials.read(directory, name)
        except CredentialsError as error:
            reasons[cluster] = str(error)
    return reasons


class CredentialsError(Exception):
    """A client's file is missing or is not what it should be; the operators must act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """Id and secret of one confidential client. The secret never shows in a log.

    `source` is the file that they were read from.
    """

    name: str
    client_id: str
    client_secret: str = field(repr=False)
    source: Path | None = None

    @classmethod
    def read(cls, directory: Path, name: str) -> Self:
        """Read `<directory>/<name>.json`, or raise `CredentialsError`."""
        if not _NAME.fullmatch(name):
            raise CredentialsError(f"{name!r} is no name of a client")
        path = directory / f"{name}.json"
        try:
            client = read_client(path)
            if path.stat().st_mode & _FOR_OTHERS:
                log.warning("globus_client_file_open_to_others", path=str(path))
        except (OSError, SettingInvalid) as error:
            raise CredentialsError(str(error)) from error
        return cls(
            name=name,
            client_id=client.client_id,
            client_secret=client.client_secret.get_secret_value(),
            source=path,
        )

    def reread(self) -> Self:
        """Return what the file says now, or the same if it says nothing of use."""
        if self.source is None:
            return self
        try:
            return self.read(self.source.parent, self.name)
        except CredentialsError as error:
            log.warning("globus_client_file_unusable", reason=str(error))
            return self
