"""The parts that processes of the gateway play."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a process of the gateway does: all of it, or one part of it beside other processes."""

    ALL = "all"
    WEB = "web"
    HUB = "hub"
    CONTROLLER = "controller"
