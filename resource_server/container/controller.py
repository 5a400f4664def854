"""The controller, which brings what operators edit into the database."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resource_server.config import Settings
from resource_server.container.background import running
from resource_server.services.controller import Controller
from resource_server.store.catalog import YamlCatalog
from resource_server.store.lease import LeaseTable


@asynccontextmanager
async def open_controller(settings: Settings) -> AsyncIterator[None]:
    """Be the active controller, or wait to become it.

    Raises `CatalogInvalid` if the files hold mistakes and this is the active controller.
    """
    controller = Controller(
        LeaseTable(_process_name(), term_s=settings.controller_lease_s),
        YamlCatalog(settings.catalog_dir),
        term_s=settings.controller_lease_s,
        every_s=settings.catalog_poll_s,
    )
    await controller.start()
    async with running(controller.run, name="controller"):
        yield


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
