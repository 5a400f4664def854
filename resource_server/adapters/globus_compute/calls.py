"""One call of a function at a site, from the moment somebody waits for it to its result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compute_functions.contract import JsonObject
from resource_server.domain import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What may share one submission: an endpoint and the filling of its template."""

    endpoint_id: str
    config: str

    @classmethod
    def of(cls, endpoint_id: str, user_endpoint_config: Mapping[str, Any]) -> Lane:
        """Return the lane, the same for equal configurations."""
        config = json.dumps(dict(user_endpoint_config), sort_keys=True)
        return cls(endpoint_id=endpoint_id, config=config)

    @property
    def user_endpoint_config(self) -> JsonObject:
        """What fills the endpoint's template."""
        return dict(json.loads(self.config))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What a task came to: the function's return value, or the code and text of a failure.

    `size` is that of the message in bytes: what costs time to decode is left to a thread.
    """

    task_id: str
    value: object = None
    failure_code: str | None = None
    failure_text: str = ""
    size: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One waiting call. Times are the event loop's; `size` is the packed argument's in bytes.

    The argument is empty once the service has it.
    """

    lane: Lane
    function_id: str
    argument: JsonObject
    size: int
    deadline: float
    queued_at: float
    #: Whose call it is, for the log.
    cluster: str = ""
    result: asyncio.Future[TaskResult] = field(default_factory=asyncio.Future)
    submitted_at: float | None = None
    task_id: str | None = None
    #: Its caller has left: it is not sent again, whatever became of its submission.
    deserted: bool = False
    #: When the first of its submissions failed without effect.
    failed_at: float | None = None
    #: Its submission was refused with the task group in use; the next one asks for a new group.
    regroup: bool = False

    @property
    def sent(self) -> bool:
        """Whether the service may have it, so that it may run."""
        return self.submitted_at is not None

    def current_argument(self, now: float) -> JsonObject:
        """Return the argument with what is left of the caller's patience."""
        if "timeout_s" not in self.argument:
            return self.argument
        return self.argument | {"timeout_s": self.deadline - now}

    def finish(self, result: TaskResult) -> None:
        """Give the waiting caller the result; who has left hears nothing."""
        if not self.result.done():
            self.result.set_result(result)

    def fail(self, error: errors.UpstreamError) -> None:
        """Tell the waiting caller that there will be no result."""
        if not self.result.done():
            self.result.set_exception(error)
