"""Turns what came back from a site into the gateway's answers and errors."""

from __future__ import annotations

import asyncio

import structlog

from compute_functions.contract import (
    GLOBUS_PAYLOAD_LIMIT,
    ContractError,
    EngineAnswer,
    FailureCode,
    JsonObject,
    SiteFailure,
    SiteReply,
    SiteStatus,
    read_reply,
)
from resource_server.adapters.engine_heads import content_type, is_final_status, passed_on
from resource_server.adapters.globus_compute.calls import TaskResult
from resource_server.adapters.globus_compute.channel import Finished
from resource_server.adapters.site_failures import LOGGED_TEXT, contract_broken, site_error
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
TOO_LARGE = (
    f"The answer is larger than Globus Compute carries ({GLOBUS_PAYLOAD_LIMIT} bytes). Ask "
    "for less at once: fewer tokens, fewer choices, fewer inputs."
)
#: A site that says one of these has not asked its engine.
NOT_PUSHED = frozenset({FailureCode.HUB_UNREACHABLE, FailureCode.HUB_NOT_ALLOWED})
#: So much of a code that an agent made up goes into the log (characters).
CODE_LENGTH = 200


async def engine_answer(cluster: Cluster, finished: Finished) -> InferenceAnswer:
    """Return the engine's answer, or raise what the site said instead."""
    return _answer(cluster, finished, await _reply(cluster, finished.result))


async def pushed_answer(cluster: Cluster, finished: Finished) -> InferenceAnswer | None:
    """Return the answer of a site that should have pushed it, and gave it as its result instead.

    None if the site could not push: then its engine was not asked.
    """
    reply = await _read(cluster, finished.result)
    if isinstance(reply, SiteFailure) and reply.code in NOT_PUSHED:
        log.error(
            "site_cannot_push",
            cluster=cluster.name,
            code=reply.code,
            text=reply.message[:LOGGED_TEXT],
        )
        return None
    return _answer(cluster, finished, _good(cluster, reply))


def _answer(cluster: Cluster, finished: Finished, reply: SiteReply) -> InferenceAnswer:
    if not isinstance(reply, EngineAnswer):
        raise _unexpected(cluster, f"an answer was expected, not {type(reply).__name__}")
    if not is_final_status(reply.status):
        raise _unexpected(cluster, f"an engine answered with status {reply.status}")
    return InferenceAnswer(
        status=reply.status,
        body=reply.body,
        content_type=content_type(reply.headers),
        headers=passed_on(reply.headers),
        transport="task",
        hops=Hops(
            queue_s=finished.queue_s,
            transport_s=max(0.0, finished.away_s - reply.site_s),
            site_s=max(0.0, reply.site_s - reply.engine_s),
            engine_s=reply.engine_s,
        ),
        task_id=finished.result.task_id,
    )


async def site_status(cluster: Cluster, finished: Finished) -> SiteStatus:
    """Return what the site says that it runs, or raise what it said instead."""
    reply = await _reply(cluster, finished.result)
    if not isinstance(reply, SiteStatus):
        raise _unexpected(cluster, f"a status was expected, not {type(reply).__name__}")
    return reply


def returned(cluster: Cluster, finished: Finished) -> JsonObject:
    """Return what a function gave, be it a failure; raises if it gave nothing."""
    result = finished.result
    if result.failure_code is not None:
        raise _task_error(cluster, result)
    if not isinstance(result.value, dict):
        raise _unexpected(cluster, f"an object was expected, not {type(result.value).__name__}")
    return result.value


async def _reply(cluster: Cluster, result: TaskResult) -> SiteReply:
    return _good(cluster, await _read(cluster, result))


def _good(cluster: Cluster, reply: SiteReply) -> SiteReply:
    if isinstance(reply, SiteFailure):
        raise site_error(cluster.name, reply, too_large=TOO_LARGE)
    return reply


async def _read(cluster: Cluster, result: TaskResult) -> SiteReply:
    """Return what the site said, be it a failure; raises if that cannot be told."""
    if result.failure_code is not None:
        raise _task_error(cluster, result)
    try:
        if _takes_long(result):
            return await asyncio.to_thread(read_reply, result.value)
        return read_reply(result.value)
    except ContractError as error:
        raise _unexpected(cluster, str(error)) from error


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
        code=f"{result.failure_code}"[:CODE_LENGTH],
        text=result.failure_text[-LOGGED_TEXT:],
    )
    if result.failure_code == RESULT_TOO_LARGE:
        return errors.AnswerTooLarge(TOO_LARGE)
    return errors.BackendUnavailable(
        f"The cluster '{cluster.name}' failed to run the request. Try again; if it fails again, "
        "report the task id to the operators."
    )


def _unexpected(cluster: Cluster, reason: str) -> errors.BackendUnavailable:
    return contract_broken(cluster.name, reason)
