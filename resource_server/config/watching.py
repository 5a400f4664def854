"""What can be seen of the gateway and its sites: reports, log, metrics and traces."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, SecretStr, TypeAdapter, model_validator

from resource_server.config.invalid import SettingInvalid
from resource_server.config.secret import read_secret

MIN_TOKEN_LENGTH = 16
_HEADERS = TypeAdapter(dict[str, str])


class WatchingSettings(BaseModel):
    """Who is told what."""

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

    @model_validator(mode="after")
    def _watchers_are_told_apart(self) -> Self:
        token = self.read_metrics_token()
        if token is not None and len(token) < MIN_TOKEN_LENGTH:
            raise ValueError(f"the metrics token is shorter than {MIN_TOKEN_LENGTH} characters")
        self.read_otlp_headers()
        return self

    def read_metrics_token(self) -> str | None:
        """Return the token for `/metrics`; None means that there is no such URL."""
        return read_secret("METRICS_TOKEN", self.metrics_token, self.metrics_token_file)

    def read_otlp_headers(self) -> dict[str, str]:
        """Return the headers for the collector."""
        if self.otlp_headers_file is None:
            return {}
        try:
            return _HEADERS.validate_json(self.otlp_headers_file.read_bytes())
        except (OSError, ValueError):
            # The cause would show the values.
            raise SettingInvalid(f"{self.otlp_headers_file} holds no headers as JSON") from None
