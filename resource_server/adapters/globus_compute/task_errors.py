"""Errors of requests by task: of those that were sent, and of clusters that cannot be asked so."""

from __future__ import annotations

from typing import TypeVar

import structlog

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster

log = structlog.get_logger()

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


def not_set_up(cluster: Cluster, event: str, reason: str) -> errors.BackendUnavailable:
    """Log what is wrong, and return the error of a request that cannot be sent for that."""
    log.error(event, cluster=cluster.name, reason=reason)
    return errors.BackendUnavailable(
        f"The cluster '{cluster.name}' is not set up correctly. The operators must act."
    )
