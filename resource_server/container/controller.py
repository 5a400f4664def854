"""The controller, and which duties it has."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from resource_server.adapters.hub import HubCalls, HubConnection
from resource_server.batch_ports import BatchObserver
from resource_server.config import Role, Settings
from resource_server.container.background import running
from resource_server.container.batches import batch_duties
from resource_server.container.observation import open_instrumentation
from resource_server.ports import Duty, SiteCalls
from resource_server.services.catalog_files import CatalogFiles
from resource_server.services.controller import Controller
from resource_server.store.catalog import YamlCatalog
from resource_server.store.lease import LeaseTable


@asynccontextmanager
async def open_controller_process(settings: Settings) -> AsyncIterator[None]:
    """Be a process that is a controller and nothing else."""
    async with (
        open_instrumentation(settings, Role.CONTROLLER) as instrumentation,
        open_controller(settings, observer=instrumentation.batches()),
    ):
        yield


@asynccontextmanager
async def open_controller(
    settings: Settings,
    calls: SiteCalls | None = None,
    *,
    observer: BatchObserver | None = None,
) -> AsyncIterator[None]:
    """Be the active controller, or wait to become it; sites are spoken with through `calls`.

    A process that is only a controller has none, and speaks with them through its host's hub.
    Raises `CatalogInvalid` if the files hold mistakes and this is the active controller.
    """
    term_s = settings.controller_lease_s
    files = CatalogFiles(YamlCatalog(settings.catalog_dir), every_s=settings.catalog_poll_s)
    async with AsyncExitStack() as stack:
        if calls is None:
            hub = await stack.enter_async_context(HubConnection(settings.hub_address))
            calls = HubCalls(hub)
        duties: Sequence[Duty] = (files, *batch_duties(settings, calls, observer))
        controller = Controller(LeaseTable(_process_name(), term_s=term_s), duties, term_s=term_s)
        await controller.start(files.take)
        await stack.enter_async_context(running(controller.run, name="controller"))
        yield


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
