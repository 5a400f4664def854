"""What a site's YAML may say of an engine or service that the gateway reaches by itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from yarl import URL

from resource_server.adapters.catalog_names import ModelId
from resource_server.domain.catalog import DirectTarget

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
#: Headers that the gateway sets itself.
_OURS = frozenset(
    {
        *("accept-encoding", "authorization", "connection", "content-length", "content-type"),
        *("host", "transfer-encoding", "x-request-id"),
    }
)


def _is_whole(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


_File = Annotated[Path, AfterValidator(_is_whole)]


class DirectSpec(BaseModel):
    """Where the engine is, what opens it, and what it calls our models. See `DirectTarget`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    api_key_file: _File | None = None
    ca_file: _File | None = None
    client_certificate: _File | None = None
    client_key: _File | None = Field(None, validate_default=True)
    headers: dict[str, str] = {}
    models: dict[ModelId, str] = {}

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        try:
            url = URL(text)
        except ValueError as error:
            raise ValueError("is no address") from error
        if url.scheme not in {"http", "https"} or not url.host or url.user or url.query_string:
            raise ValueError("must be as https://engine.example.org:8000, without user and query")
        return text.rstrip("/").removesuffix("/v1")

    @field_validator("client_key")
    @classmethod
    def _both_or_none(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("client_certificate") is None):
            raise ValueError("client_certificate and client_key go together")
        return key

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
                raise ValueError(f"'{name}' is no header")
            if name.lower() in _OURS:
                raise ValueError(f"'{name}' is set by the gateway; a key goes into api_key_file")
        return headers

    def to_domain(self) -> DirectTarget:
        """Return the target."""
        return DirectTarget(
            url=self.url,
            api_key_file=_text(self.api_key_file),
            ca_file=_text(self.ca_file),
            client_certificate=_text(self.client_certificate),
            client_key=_text(self.client_key),
            headers=self.headers,
            models=self.models,
        )


def _text(path: Path | None) -> str:
    return "" if path is None else str(path)
