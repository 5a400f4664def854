"""Where sites' relays dial in."""

from __future__ import annotations

from pydantic import BaseModel, Field


class RelaySettings(BaseModel):
    """The hub's own address, for sites alone."""

    relay_host: str = Field("127.0.0.1", description="Address to listen on for sites' relays.")
    relay_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port to listen on for sites' relays, behind a proxy that does TLS; "
        "0 takes no relays. A hub that takes some needs the database.",
    )
    relay_public_url: str = Field(
        "",
        pattern="^(https?://[^/?#]+)?$",
        description="Where sites reach that port, as `https://inference.example.org`; "
        "relays dial it, and functions push streams there; without it no stream by task comes "
        "before it is whole.",
    )
