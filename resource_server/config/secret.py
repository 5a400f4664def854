"""Secrets: given as a value, or in a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr, ValidationError

from resource_server.config.invalid import SettingInvalid


class GlobusClient(BaseModel):
    """One confidential Globus client: an id and its secret."""

    client_id: str = Field(min_length=1)
    client_secret: SecretStr = Field(min_length=1)


def read_secret(name: str, value: SecretStr | None, file: Path | None) -> str | None:
    """Return a secret that is given as a value or in a file."""
    if value is not None and file is not None:
        raise SettingInvalid(f"set only one of HOTNODE_{name} and HOTNODE_{name}_FILE")
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{file} cannot be read: {error}") from error


def read_client(path: Path) -> GlobusClient:
    """Return the Globus client in a JSON file; raises `SettingInvalid` naming the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingInvalid(f"cannot read {path}: {error}") from error
    try:
        return GlobusClient.model_validate_json(content)
    except ValidationError:
        # The cause would show the values.
        raise SettingInvalid(f"{path} holds no Globus client (client_id, client_secret)") from None
