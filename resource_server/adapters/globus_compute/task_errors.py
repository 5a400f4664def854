"""Errors about a task that was sent: they name it, so that operators can find it."""

from __future__ import annotations

from typing import TypeVar

from resource_server.domain import errors

E = TypeVar("E", bound=errors.HotnodeError)


def about_task(error: E, task_id: str | None) -> E:
    """Return the error with its task's id, which the API reports in a header."""
    error.task_id = task_id
    return error
