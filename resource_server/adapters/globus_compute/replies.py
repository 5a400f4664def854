"""Turns what came back from a site into the gateway's answers and errors."""

from __future__ import annotations

import asyncio

import structlog

from compute_functions.contract import (
    GLOBUS_PAYLOAD_LIMIT,
    ContractError,
    EngineAnswer,
    FailureCode,
    SiteFailure,
    SiteReply,
    SiteStatus,
    read_reply,
)
from resource_server.adapters.globus_compute.calls import TaskResult
from resource_server.adapters.globus_compute.channel import Finished
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.inference import Hops, InferenceAnswer

log = structlog.get_logger()

#: Reading more than this would hold up every other request of the process (bytes).
THREAD_FROM = 64 * 1024
#: Compressed data may become a thousand times larger, so much less of it is read here (bytes).
ZLIB_THREAD_FROM = 4 * 1024
#: The agent's own code for a return value over Globus Compute's limit.
RESULT_TOO_LARGE = "MaxResultSizeExceeded"
#: A header longer than this is no header of an engine (characters).
HEADER_LENGTH = 200
#: What an engine says beside its body that a caller can act on.
PASSED_ON = frozenset({"retry-after"})
#: So much of a site's traceback goes into the log (characters).
LOGGED_TEXT = 4000


async def engine_answer(cluster: Cluster, finished: Finished) -> InferenceAnswer:
    """Return the engine's answer, or raise what the site said instead."""
    reply = await _reply(cluster, finished.result)
    if not isinstance(reply, EngineAnswer):
        raise _unexpected(cluster, f"an answer was expected, not {type(reply).__name__}")
    if not 200 <= reply.status <= 599:  # noqa: PLR2004 # what HTTP knows as final statuses
        raise _unexpected(cluster, f"an engine answered with status {reply.status}")
    return InferenceAnswer(
        status=reply.status,
        body=reply.body,
        content_type=_header(reply, "content-type") or "application/json",
        headers={name: value for name in PASSED_ON if (value := _header(reply, name))},
        transport="task",
        hops=Hops(
            queue_s=finished.queue_s,
            transport_s=max(0.0, finished.away_s - reply.site_s),
            site_s=max(0.0, reply.site_s - reply.engine_s),
            engine_s=reply.engine_s,
        ),
        task_id=finished.result.task_id,
    )


def _header(reply: EngineAnswer, name: str) -> str:
    """Return a header of the engine, or nothing if it cannot be one: sites are not trusted."""
    value = reply.headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) < HEADER_LENGTH else ""


async def site_status(cluster: Cluster, finished: Finished) -> SiteStatus:
    """Return what the site says that it runs, or raise what it said instead."""
    reply = await _reply(cluster, finished.result)
    if not isinstance(reply, SiteStatus):
        raise _unexpected(cluster, f"a status was expected, not {type(reply).__name__}")
    return reply


async def _reply(cluster: Cluster, result: TaskResult) -> SiteReply:
    if result.failure_code is not None:
        raise _task_error(cluster, result)
    try:
        if _takes_long(result):
            reply = await asyncio.to_thread(read_reply, result.value)
        else:
            reply = read_reply(result.value)
    except ContractError as error:
        raise _unexpected(cluster, str(error)) from error
    if isinstance(reply, SiteFailure):
        raise _site_error(cluster, reply)
    return reply


def _takes_long(result: TaskResult) -> bool:
    match result.value:
        case {"body": {"zlib": str() as packed}}:
            return len(packed) > ZLIB_THREAD_FROM
        case _:
            return result.size >= THREAD_FROM


def _task_error(cluster: Cluster, result: TaskResult) -> errors.UpstreamError:
    """Say what a task that raised an exception means; its text is for the log alone."""
    log.error(
        "globus_task_failed",
        cluster=cluster.name,
        task_id=result.task_id,
        code=f"{result.failure_code}"[:HEADER_LENGTH],
        text=result.failure_text[-LOGGED_TEXT:],
    )
    if result.failure_code == RESULT_TOO_LARGE:
        return _too_large()
    return errors.BackendUnavailable(
        f"The cluster '{cluster.name}' failed to run the request. Try again; if it fails again, "
        "report the task id to the operators."
    )


def _site_error(cluster: Cluster, failure: SiteFailure) -> errors.HotnodeError:
    """Say what a site's failure means to the caller; its own words may name hosts and paths."""
    log.warning(
        "site_failure", cluster=cluster.name, code=failure.code, text=failure.message[:LOGGED_TEXT]
    )
    if failure.code is FailureCode.RESPONSE_TOO_LARGE:
        return _too_large()
    known = _SITE_ERRORS.get(failure.code)
    if known is None:
        return _unexpected(cluster, f"{failure.code}: {failure.message[:LOGGED_TEXT]}")
    kind, text = known
    return kind(text.format(cluster=cluster.name))


_SITE_ERRORS: dict[FailureCode, tuple[type[errors.HotnodeError], str]] = {
    FailureCode.MODEL_NOT_RUNNING: (
        errors.ModelNotRunning,
        "The model does not run on '{cluster}' now. See GET /resource_server/{cluster}/jobs.",
    ),
    FailureCode.ENGINE_UNREACHABLE: (
        errors.BackendUnavailable,
        "The model's engine on the cluster '{cluster}' does not answer. Try again shortly.",
    ),
    FailureCode.ENGINE_TIMEOUT: (
        errors.BackendTimeout,
        "The model's engine on the cluster '{cluster}' did not answer in time. Ask for less.",
    ),
    FailureCode.EXPIRED: (
        errors.BackendTimeout,
        "The request reached the cluster '{cluster}' after its time. Try again.",
    ),
    FailureCode.PATH_NOT_ALLOWED: (
        errors.InvalidRequest,
        "The model on the cluster '{cluster}' does not serve this route.",
    ),
    FailureCode.INVALID_REQUEST: (
        errors.InvalidRequest,
        "The cluster '{cluster}' refused the request as not valid. The operators can say why.",
    ),
}


def _too_large() -> errors.AnswerTooLarge:
    return errors.AnswerTooLarge(
        f"The answer is larger than Globus Compute carries ({GLOBUS_PAYLOAD_LIMIT} bytes). Ask "
        "for less at once: fewer tokens, fewer choices, fewer inputs."
    )


def _unexpected(cluster: Cluster, reason: str) -> errors.BackendUnavailable:
    """Say that gateway and site do not fit together; only operators can help."""
    log.error("site_contract_broken", cluster=cluster.name, reason=reason)
    return errors.BackendUnavailable(
        f"The cluster '{cluster.name}' is not set up correctly. The operators must act."
    )
