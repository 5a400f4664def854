"""Every setting of the gateway: typed, described, read from the environment or from files.

Each field is the environment variable `HOTNODE_<FIELD>`. Secrets have no default; each may be
given by a file instead (`HOTNODE_SECRET_KEY_FILE`).
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)
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
Numbers = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_words)]


class Role(StrEnum):
    """What a process of the gateway does: all of it, or one part of it beside other processes."""

    ALL = "all"
    WEB = "web"
    HUB = "hub"
    CONTROLLER = "controller"


class Settings(BaseSettings):
    """The gateway's settings."""

    model_config = SettingsConfigDict(env_prefix="HOTNODE_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    allowed_hosts: Words = Field(
        ("localhost", "127.0.0.1", "[::1]"),
        description="Host headers to accept, comma-separated.",
    )
    contact: str = Field(
        "",
        max_length=200,
        description="Where people reach the operators, as an address or a URL: shown with errors "
        "that only they can help with, and on the API's page.",
    )
    state_dir: Path = Field(
        description="Directory of the gateway's own files. Created if absent, for us alone."
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Web processes of `serve`; from 2 on they share a hub and a controller, "
        "and need PostgreSQL and Redis.",
    )
    hub_socket: Path | None = Field(
        None,
        description="Unix socket of the hub, in a folder that only we may enter; "
        "by default `run/hub.sock` in the state directory.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL, as `postgresql://user:password@host/name?sslmode=verify-full`; "
        "without it SQLite in the state directory.",
    )
    database_url_file: Path | None = Field(None, description="File holding `database_url`.")
    redis_url: SecretStr | None = Field(
        None,
        description="Redis, as `rediss://user:password@host:6379/0`; "
        "without it this process keeps for itself what it would hold.",
    )
    redis_url_file: Path | None = Field(None, description="File holding `redis_url`.")
    controller_lease_s: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Seconds after which another controller takes over from one that is silent.",
    )
    secret_key: SecretStr | None = Field(
        None, description="Key for cached tokens' digests and Django's signing; 32 characters up."
    )
    secret_key_file: Path | None = Field(None, description="File holding `secret_key`.")

    catalog_dir: Path = Field(
        Path("endpoint_configs"),
        description="Directory with `sites/*.yaml`, `models/*.yaml` and `limits.yaml`.",
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
        (),
        description="Globus authentication policies that every login must meet, comma-separated; "
        "`<id>=<seconds>` also limits the login's age.",
    )
    globus_domains: Words = Field(
        (), description="Domains of identity providers admitted; none admits all."
    )
    globus_domains_of: Literal["session", "account"] = Field(
        "session",
        description="Identities that count for domains: those used to log in (`session`), "
        "or all linked ones (`account`).",
    )
    globus_groups: Words = Field(
        (), description="Globus groups, of one of which everybody must be an active member."
    )
    globus_groups_by_domain: dict[str, tuple[UUID, ...]] = Field(
        {},
        description="Globus groups by identity provider's domain, as JSON: who comes from a "
        "domain needs one of its groups; `*` stands for all other domains.",
    )
    globus_service_accounts: Words = Field(
        (), description="Ids of the Globus clients that may call the service, comma-separated."
    )
    login_max_age_s: float | None = Field(
        None,
        gt=0,
        description="Seconds after which everybody has to log in again; 604800 is 7 days.",
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
    limit_requests_per_minute: int = Field(
        0, ge=0, description="Requests per minute of one person; 0 does not limit."
    )
    limit_requests_per_minute_per_key: int = Field(
        0, ge=0, description="Requests per minute with one key or token; 0 does not limit."
    )
    limit_tokens_per_minute: int = Field(
        0, ge=0, description="Tokens per minute of one person, in and out; 0 does not limit."
    )
    limit_tokens_per_minute_per_model: int = Field(
        0, ge=0, description="Tokens per minute of one person with one model; 0 does not limit."
    )
    limit_concurrent_requests: int = Field(
        0, ge=0, description="Requests of one person at once; 0 does not limit."
    )
    max_body_bytes: int = Field(
        10_000_000,
        gt=0,
        le=256 * 1024 * 1024,
        description="Largest request body accepted, in bytes; 256 MiB at the most.",
    )
    max_upload_bytes: int = Field(
        26_500_000,
        gt=0,
        le=256 * 1024 * 1024,
        description="Largest body of an audio route, in bytes; a file of 25 MiB fits by default.",
    )
    images_fetch: bool = Field(
        default=True,
        description="Whether images that requests name by https address are fetched; "
        "without it only data URLs are taken.",
    )
    images_max_bytes: int = Field(5_000_000, gt=0, description="Largest image fetched, in bytes.")
    images_max_request_bytes: int = Field(
        7_000_000,
        gt=0,
        description="Bytes of all images fetched for one request. Globus Compute carries 10 MB, "
        "and an image grows by a third on the way.",
    )
    images_max_count: int = Field(16, gt=0, description="Images fetched for one request.")
    images_timeout_s: float = Field(
        20.0, gt=0, le=300, description="Seconds for fetching all images of one request."
    )
    images_hosts: Words = Field(
        (),
        description="Hosts from which images are fetched, comma-separated; `*.example.org` is "
        "every host below one. None allows every host on the public internet.",
    )
    images_ports: Numbers = Field(
        (443,), description="Ports from which images are fetched, comma-separated."
    )
    site_status_cache_s: float = Field(
        15.0, gt=0, description="Seconds for which a site's report of its instances is reused."
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|text)$", description="Form of the log: auto, json or text."
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Token with which Prometheus reads `/metrics`; 16 characters up. "
        "Without it there is no such URL.",
    )
    metrics_token_file: Path | None = Field(None, description="File holding `metrics_token`.")
    otlp_endpoint: str = Field(
        "",
        pattern="^(https?://.+)?$",
        description="Base URL of an OpenTelemetry collector that takes traces over HTTP, as "
        "`http://127.0.0.1:4318`; without it none are made. Needs the extra `otel`.",
    )
    otlp_headers_file: Path | None = Field(
        None,
        description="JSON file with headers for the collector, as "
        '`{"Authorization": "Bearer ..."}`.',
    )
    otlp_sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of requests that are traced, of those whose caller has no trace; "
        "a caller's own trace is continued as the caller decided.",
    )

    @field_validator("globus_policies")
    @classmethod
    def _policies_are_ids(cls, policies: tuple[str, ...]) -> tuple[str, ...]:
        for policy in policies:
            id_, equals, max_age_s = policy.partition("=")
            UUID(id_)
            if equals and not (max_age_s.isdecimal() and int(max_age_s)):
                raise ValueError(f"'{policy}' is not <id>=<seconds>")
        return policies

    @field_validator("globus_groups", "globus_service_accounts")
    @classmethod
    def _are_ids(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(UUID(id_)) for id_ in ids)

    @model_validator(mode="after")
    def _secret_is_given(self) -> Self:
        if (self.secret_key is None) == (self.secret_key_file is None):
            raise ValueError("set one of HOTNODE_SECRET_KEY and HOTNODE_SECRET_KEY_FILE")
        if len(self.read_secret_key()) < MIN_SECRET_LENGTH:
            raise ValueError(f"the secret key is shorter than {MIN_SECRET_LENGTH} characters")
        return self

    @model_validator(mode="after")
    def _watchers_are_told_apart(self) -> Self:
        token = self.read_metrics_token()
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise ValueError(f"the metrics token is shorter than {MIN_TOKEN_LENGTH} characters")
        self.read_otlp_headers()
        return self

    @model_validator(mode="after")
    def _addresses_can_be_read(self) -> Self:
        for name, url, schemes in (
            ("DATABASE_URL", self.read_database_url(), ("postgresql://", "postgres://")),
            ("REDIS_URL", self.read_redis_url(), ("redis://", "rediss://", "unix://")),
        ):
            if url is not None and not url.startswith(schemes):
                # The value holds a password, so it is not repeated.
                raise ValueError(f"HOTNODE_{name} does not begin with {' or '.join(schemes)}")
        return self

    def read_secret_key(self) -> str:
        """Return the secret key, wherever it is kept."""
        key = _read_secret("SECRET_KEY", self.secret_key, self.secret_key_file)
        if key is None:
            raise SettingInvalid("no secret key is set")
        return key

    def read_database_url(self) -> str | None:
        """Return the address of PostgreSQL; None means SQLite."""
        return _read_secret("DATABASE_URL", self.database_url, self.database_url_file)

    def read_redis_url(self) -> str | None:
        """Return the address of Redis; None means that there is none."""
        return _read_secret("REDIS_URL", self.redis_url, self.redis_url_file)

    def read_metrics_token(self) -> str | None:
        """Return the token for `/metrics`; None means that there is no such URL."""
        return _read_secret("METRICS_TOKEN", self.metrics_token, self.metrics_token_file)

    def read_otlp_headers(self) -> dict[str, str]:
        """Return the headers for the collector."""
        if self.otlp_headers_file is None:
            return {}
        try:
            return _HEADERS.validate_json(self.otlp_headers_file.read_bytes())
        except (OSError, ValueError):
            # The cause would show the values.
            raise SettingInvalid(f"{self.otlp_headers_file} holds no headers as JSON") from None

    @property
    def database_path(self) -> Path:
        """Where the SQLite database is."""
        return self.state_dir / "gateway.sqlite3"

    @property
    def hub_address(self) -> Path:
        """Where the hub listens."""
        return self.hub_socket or self.state_dir / "run" / "hub.sock"


MIN_SECRET_LENGTH = 32
MIN_TOKEN_LENGTH = 16
_HEADERS = TypeAdapter(dict[str, str])


class SettingInvalid(ValueError):
    """What a setting points at cannot be used."""


def _read_secret(name: str, value: SecretStr | None, file: Path | None) -> str | None:
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
        return GlobusClient.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"{path} holds no Globus client (client_id, client_secret)") from error
