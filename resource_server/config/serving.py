"""Where the gateway serves, and how it is taken apart into processes."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from resource_server.config.lists import Words


class ServingSettings(BaseModel):
    """Addresses, directory and processes."""

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

    @property
    def database_path(self) -> Path:
        """Where the SQLite database is."""
        return self.state_dir / "gateway.sqlite3"

    @property
    def hub_address(self) -> Path:
        """Where the hub listens."""
        return self.hub_socket or self.state_dir / "run" / "hub.sock"
