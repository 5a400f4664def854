"""Errors about a request that was sent: they name its task, and invite nobody to send it again."""

from __future__ import annotations

from typing import TypeVar

from resource_server.domain import errors

E = TypeVar("E", bound=errors.HotnodeError)


def about_task(error: E, task_id: str | None) -> E:
    """Return the error with its task's id, if known, which the API reports in a header.

    A request that may have run, or may yet run, is not announced as worth repeating: clients
    repeat without asking. Only of a model that does not run is it certain that nothing happened.
    """
    error.task_id = task_id
    if not isinstance(error, errors.ModelNotRunning):
        error.retry_after_s = None
    return error
