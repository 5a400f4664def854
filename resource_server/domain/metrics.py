"""What a program that watches the gateway is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All metrics of this moment, in the form that was asked for."""

    content: bytes
    content_type: str
