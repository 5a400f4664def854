"""The section `keeper` of `site.yaml`: for sites whose jobs must come from the endpoint itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from compute_functions import globus_client
from compute_functions.globus_client import GlobusClient
from compute_functions.operator_yaml import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """The endpoint that has the role `blocks`, the lock of its functions, and who calls it.

    Without the two files the Globus client is the environment's.
    """

    endpoint: str
    functions: Path
    client_id_file: Path | None = None
    client_secret_file: Path | None = None

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the section."""
        section.allow(*cls.__slots__)
        files = {
            name: section.file.absolute().parent / section.text(name)
            for name in ("client_id_file", "client_secret_file")
            if section.has(name)
        }
        if len(files) == 1:
            raise section.wrong(next(iter(files)), "give both files, or neither")
        return cls(
            endpoint=_uuid(section, "endpoint"),
            functions=section.file.absolute().parent / section.text("functions"),
            **files,
        )

    def client(self, environment: Mapping[str, str]) -> GlobusClient:
        """Return the Globus client as which keepers are called."""
        if self.client_id_file is None or self.client_secret_file is None:
            return globus_client.require(environment, otherwise="; or give files in site.yaml")
        return GlobusClient.from_files(self.client_id_file, self.client_secret_file)


def _uuid(section: Section, name: str) -> str:
    try:
        return str(UUID(section.text(name)))
    except ValueError:
        raise section.wrong(name, "must be an endpoint's id") from None
