"""Every setting of the gateway: typed, described, read from the environment or from files.

Each field is the environment variable `HOTNODE_<FIELD>`. Secrets have no default; each may be
given by a file instead (`HOTNODE_SECRET_KEY_FILE`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class GlobusClient(BaseModel):
    """One confidential Globus client: an id and its secret."""

    client_id: str
    client_secret: SecretStr


def _words(value: object) -> object:
    """Read a comma-separated list."""
    if not isinstance(value, str):
        return value
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if value.strip() and not words:
        raise ValueError("names nothing")
    return words


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """The gateway's settings."""

    model_config = SettingsConfigDict(env_prefix="HOTNODE_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    allowed_hosts: Words = Field(
        ("localhost", "127.0.0.1", "[::1]"),
        description="Host headers to accept, comma-separated.",
    )
    state_dir: Path = Field(
        description="Directory of the gateway's own files: the SQLite database. Created if absent."
    )
    secret_key: SecretStr | None = Field(
        None, description="Key for cached tokens' digests and Django's signing; 32 characters up."
    )
    secret_key_file: Path | None = Field(None, description="File holding `secret_key`.")

    catalog_dir: Path = Field(
        Path("endpoint_configs"),
        description="Directory with `sites/*.yaml` and `models/*.yaml`.",
    )
    catalog_poll_s: float = Field(
        2.0, gt=0, description="Seconds between two looks at the catalog's files and version."
    )

    globus_client_file: Path = Field(
        description="JSON file with the gateway's Globus client: `client_id`, `client_secret`."
    )
    globus_clients_dir: Path = Field(
        description="Directory with one such JSON file for each cluster's Globus client."
    )
    globus_scope: str = Field(
        "",
        description="Scope a token must carry; by default the gateway client's `action_all`.",
    )
    globus_policies: Words = Field(
        (), description="Globus authentication policies every token must pass, comma-separated."
    )
    globus_domains: Words = Field(
        (), description="Domains of identity providers admitted; none admits all."
    )
    globus_timeout_s: float = Field(
        10.0, gt=0, description="Seconds to wait for one answer of Globus Auth or Groups."
    )
    local_globus: bool = Field(
        default=False,
        description="Accept a stand-in for Globus. For development and the demo alone.",
    )
    globus_compute_allowance: int = Field(
        20, ge=4, description="Requests that Globus Compute allows an identity per 10 seconds."
    )

    token_cache_s: float = Field(
        600.0, gt=0, le=600, description="Seconds for which a verified token is not asked again."
    )
    max_body_bytes: int = Field(
        10_000_000,
        gt=0,
        le=256 * 1024 * 1024,
        description="Largest request body accepted, in bytes; 256 MiB at the most.",
    )
    site_status_cache_s: float = Field(
        15.0, gt=0, description="Seconds for which a site's report of its instances is reused."
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|text)$", description="Form of the log: auto, json or text."
    )

    @model_validator(mode="after")
    def _secret_is_given(self) -> Self:
        if (self.secret_key is None) == (self.secret_key_file is None):
            raise ValueError("set one of HOTNODE_SECRET_KEY and HOTNODE_SECRET_KEY_FILE")
        if len(self.read_secret_key()) < MIN_SECRET_LENGTH:
            raise ValueError(f"the secret key is shorter than {MIN_SECRET_LENGTH} characters")
        return self

    def read_secret_key(self) -> str:
        """Return the secret key, wherever it is kept."""
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        if self.secret_key_file is None:
            raise SettingInvalid("no secret key is set")
        try:
            return self.secret_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingInvalid(f"{self.secret_key_file} cannot be read: {error}") from error

    @property
    def database_path(self) -> Path:
        """Where the SQLite database is."""
        return self.state_dir / "gateway.sqlite3"


MIN_SECRET_LENGTH = 32


class SettingInvalid(ValueError):
    """What a setting points at cannot be used."""


def read_client(path: Path) -> GlobusClient:
    """Return the Globus client in a JSON file; raises `SettingInvalid` naming the file."""
    try:
        return GlobusClient.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"{path} holds no Globus client (client_id, client_secret)") from error
