"""Tasks of Globus Compute, as the keeper driver needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import globus_sdk
from globus_compute_sdk import Client

from compute_functions.contract import JsonObject
from compute_functions.errors import ConfigurationError, DriverFailed, SubmissionRefused
from compute_functions.function_lock import FunctionLock
from compute_functions.globus_client import GlobusClient
from compute_functions.globus_service import connect
from compute_functions.site_config.keeper_settings import KeeperSettings

_T = TypeVar("_T")
#: After these statuses the service holds no task. Not 408 or 409, and none of its own faults.
_REFUSALS = frozenset({400, 401, 403, 404, 413, 422, 429})
#: The stub's name (compute_functions.stubs).
_FUNCTION = "keep_instance"
_RESULT = "globus_compute_sdk.serialize.JSONData"
#: The SDK tries again by itself, with pauses (seconds).
LIMIT_S = 30.0


class GlobusTasks:
    """Calls `keep_instance` in the endpoint's role `blocks`.

    The SDK blocks and is not made for several threads: one call at a time.
    """

    def __init__(self, settings: KeeperSettings, identity: GlobusClient) -> None:
        self._settings = settings
        self._identity = identity
        self._client: Client | None = None
        self._one_at_a_time = asyncio.Lock()

    async def submit(self, wire: JsonObject, options: Mapping[str, Any]) -> str:
        """Submit one task and return its id; raises `DriverFailed`.

        It is a `SubmissionRefused` if the service took no task, or was not asked.
        """

        def submit(client: Client) -> str:
            batch = client.create_batch(
                user_endpoint_config=dict(options), result_serializers=[_RESULT]
            )
            batch.add(self._function(), (wire,))
            try:
                reply = client.batch_run(self._settings.endpoint, batch)
            except globus_sdk.GlobusAPIError as error:
                if error.http_status in _REFUSALS:
                    raise SubmissionRefused(f"Globus Compute: {error}") from error
                raise
            ((task_id,),) = reply["tasks"].values()
            return str(task_id)

        return await self._call(submit)

    async def ended(self, task_ids: Collection[str]) -> set[str]:
        """Return which of these tasks have ended, one way or the other; raises `DriverFailed`."""

        def ask(client: Client) -> set[str]:
            found: dict[str, dict[str, Any]] = client.get_batch_result(list(task_ids))
            return {task for task, state in found.items() if not state.get("pending", True)}

        return await self._call(ask) if task_ids else set()

    def _function(self) -> str:
        try:
            lock = FunctionLock.read_written(self._settings.functions)
        except ConfigurationError as error:
            raise SubmissionRefused(str(error)) from error
        locked = lock.functions.get(_FUNCTION)
        if locked is None:
            raise SubmissionRefused(f"{self._settings.functions} has no {_FUNCTION}")
        return locked.id

    async def _call(self, work: Callable[[Client], _T]) -> _T:
        def call() -> _T:
            if self._client is None:
                self._client = connect(self._identity, name="hotnode site agent")
            return work(self._client)

        try:
            async with asyncio.timeout(LIMIT_S), self._one_at_a_time:
                return await asyncio.to_thread(call)
        except TimeoutError as error:
            # Its thread may still be at work with the client: the next call gets one of its own.
            self._client = None
            raise DriverFailed(f"Globus Compute did not answer in {LIMIT_S:g} s") from error
        except (globus_sdk.GlobusError, ConfigurationError, OSError) as error:
            raise DriverFailed(f"Globus Compute: {error}") from error
