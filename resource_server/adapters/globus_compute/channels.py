"""One task channel per confidential client, opened when a cluster first needs it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from resource_server.adapters.globus_compute.channel import ChannelHealth, TaskChannel
from resource_server.adapters.globus_compute.client import ComputeClient
from resource_server.adapters.globus_compute.credentials import (
    ClientCredentials,
    CredentialsError,
)
from resource_server.adapters.globus_compute.service import ServiceAddresses
from resource_server.adapters.globus_compute.task_errors import not_set_up
from resource_server.domain.catalog import Cluster


class Channels:
    """Opens channels and closes them all; a client's file may appear while the gateway runs."""

    def __init__(self, directory: Path, *, addresses: ServiceAddresses, allowance: int) -> None:
        self._directory = directory
        self._addresses = addresses
        self._allowance = allowance
        self._open: dict[str, TaskChannel] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def of(self, cluster: Cluster) -> TaskChannel:
        """Return the channel of a cluster's client, or raise `BackendUnavailable`."""
        if cluster.globus_compute is None:
            raise not_set_up(cluster, "globus_client_unusable", "it has no endpoint")
        name = cluster.globus_compute.client
        async with self._opening[name]:
            if name not in self._open:
                self._open[name] = await self._opened(name, cluster)
        return self._open[name]

    def health(self) -> tuple[ChannelHealth, ...]:
        """Return how each open channel fares, without asking anybody."""
        return tuple(channel.health for channel in self._open.values())

    async def _opened(self, name: str, cluster: Cluster) -> TaskChannel:
        try:
            credentials = await asyncio.to_thread(ClientCredentials.read, self._directory, name)
        except CredentialsError as error:
            raise not_set_up(cluster, "globus_client_unusable", str(error)) from error
        client = ComputeClient(credentials, self._addresses, allowance=self._allowance)
        return await self._stack.enter_async_context(TaskChannel(client))
