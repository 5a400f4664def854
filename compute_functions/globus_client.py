"""The Globus client as which a site's commands act: given in the environment or in two files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from compute_functions.errors import ConfigurationError

ID, SECRET = "GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobusClient:
    """A confidential Globus client."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def from_files(cls, id_file: Path, secret_file: Path) -> Self:
        """Read each from a file of its own."""
        return cls(id=_text(id_file), secret=_text(secret_file))


def require(environment: Mapping[str, str], *, otherwise: str = "") -> GlobusClient:
    """Return the environment's client, or say what is missing and what one may do `otherwise`."""
    if missing := [name for name in (ID, SECRET) if not environment.get(name)]:
        raise ConfigurationError(
            f"{' and '.join(missing)} must be set: the Globus client of this cluster, "
            f"which is also the gateway's for it{otherwise}"
        )
    return GlobusClient(id=environment[ID], secret=environment[SECRET])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
