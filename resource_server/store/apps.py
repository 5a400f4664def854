"""How Django finds the tables."""

from __future__ import annotations

from django.apps import AppConfig


class StoreConfig(AppConfig):
    """The gateway's tables."""

    name = "resource_server.store"
    label = "store"
