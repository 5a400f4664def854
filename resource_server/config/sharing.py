"""What the processes of one gateway share: the database, Redis, a lease and a key."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from resource_server.config.invalid import SettingInvalid
from resource_server.config.secret import read_secret

MIN_KEY_LENGTH = 32


class SharingSettings(BaseModel):
    """The servers that hold what is shared, and the key that protects some of it."""

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

    @model_validator(mode="after")
    def _secret_is_given(self) -> Self:
        if (self.secret_key is None) == (self.secret_key_file is None):
            raise ValueError("set one of HOTNODE_SECRET_KEY and HOTNODE_SECRET_KEY_FILE")
        if len(self.read_secret_key()) < MIN_KEY_LENGTH:
            raise ValueError(f"the secret key is shorter than {MIN_KEY_LENGTH} characters")
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
        key = read_secret("SECRET_KEY", self.secret_key, self.secret_key_file)
        if key is None:
            raise SettingInvalid("no secret key is set")
        return key

    def read_database_url(self) -> str | None:
        """Return the address of PostgreSQL; None means SQLite."""
        return read_secret("DATABASE_URL", self.database_url, self.database_url_file)

    def read_redis_url(self) -> str | None:
        """Return the address of Redis; None means that there is none."""
        return read_secret("REDIS_URL", self.redis_url, self.redis_url_file)
