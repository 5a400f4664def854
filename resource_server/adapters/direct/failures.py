"""What callers are told when a direct engine gives no answer, or not all of one."""

from __future__ import annotations

import aiohttp
import structlog

from resource_server.adapters.direct.files import FilesUnusable
from resource_server.domain import errors

log = structlog.get_logger()

#: No connection was made, so nothing of the request has left.
_NOT_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)


def before_the_head(cluster: str, problem: Exception) -> errors.HotnodeError:
    """Return the error of a request that got no answer."""
    log.warning("direct_failed", cluster=cluster, reason=_reason(problem))
    if isinstance(problem, FilesUnusable):
        return errors.BackendUnavailable(
            f"The cluster '{cluster}' is not set up correctly. The operators must act."
        )
    if isinstance(problem, _NOT_SENT):
        return errors.BackendUnavailable(
            f"The cluster '{cluster}' cannot be reached. Try again shortly."
        )
    if isinstance(problem, TimeoutError):
        return errors.BackendTimeout(
            f"The model's engine on the cluster '{cluster}' did not answer in time. Ask for less."
        )
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"The connection to the cluster '{cluster}' was lost before the answer came. The request "
        "may have run, so it was not sent again; you may send it again."
    )
    error.retry_after_s = None
    return error


def within_the_answer(cluster: str, problem: Exception) -> errors.HotnodeError:
    """Return the error of an answer that broke off."""
    log.warning("direct_broke_off", cluster=cluster, reason=_reason(problem))
    if isinstance(problem, TimeoutError):
        return errors.BackendTimeout(
            f"The model's engine on the cluster '{cluster}' fell silent within its answer."
        )
    return errors.BackendInterrupted(
        f"The connection to the cluster '{cluster}' was lost within the answer. What came of "
        "it is good; the rest is lost."
    )


def _reason(problem: Exception) -> str:
    if isinstance(problem, aiohttp.ClientHttpProxyError):
        # Its own words hold the proxy's address, and the password in it.
        return f"the proxy answers {problem.status}"
    return f"{type(problem).__name__}: {problem}"
