"""Brings results to the calls that wait for them, in whatever order the two arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from resource_server.adapters.globus_compute.calls import Call, TaskResult

log = structlog.get_logger()

#: Results that overtook the reply to their submission may take this much memory (bytes).
EARLY_BYTES = 64 * 1024 * 1024


class Inbox:
    """Waiting calls by task id.

    A result for nobody is dropped: its caller has left, or it was delivered before. Only while a
    submission is under way may it belong to a call whose id is not known yet; then it is kept
    until the submission ends.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Call] = {}
        self._early: dict[str, TaskResult] = {}
        self._early_bytes = 0
        self._submitting = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting(self) -> list[Call]:
        """The calls that have a task and no result, oldest first."""
        return list(self._waiting.values())

    @contextmanager
    def submitting(self) -> Iterator[None]:
        """Keep unknown results for as long as the ids of new tasks are not known."""
        self._submitting += 1
        try:
            yield
        finally:
            self._submitting -= 1
            if not self._submitting:
                self._early.clear()
                self._early_bytes = 0

    def expect(self, call: Call) -> None:
        """Wait for the result of a call's task; it may be here already."""
        if call.task_id is None:
            raise ValueError("a call without a task cannot have a result")
        early = self._early.pop(call.task_id, None)
        if early is not None:
            call.finish(early)
        elif not call.result.done():
            self._waiting[call.task_id] = call

    def deliver(self, result: TaskResult) -> None:
        """Hand a result to its caller."""
        call = self._waiting.pop(result.task_id, None)
        if call is not None:
            call.finish(result)
        elif self._submitting and self._early_bytes + result.size <= EARLY_BYTES:
            self._early[result.task_id] = result
            self._early_bytes += result.size
        else:
            log.debug("globus_result_unclaimed", task_id=result.task_id, size=result.size)

    def forget(self, call: Call) -> None:
        """Stop waiting for a call whose caller has left."""
        if call.task_id is not None:
            self._waiting.pop(call.task_id, None)
