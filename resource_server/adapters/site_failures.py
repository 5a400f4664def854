"""What a site's failures mean to callers, whatever carried the request there."""

from __future__ import annotations

import structlog

from compute_functions.contract import FailureCode, SiteFailure
from resource_server.domain import errors

log = structlog.get_logger()

#: So much of a site's own words goes into the log (characters).
LOGGED_TEXT = 4000


def site_error(cluster: str, failure: SiteFailure, *, too_large: str = "") -> errors.HotnodeError:
    """Say what a site's failure means to the caller; its own words may name hosts and paths.

    `too_large` is what callers are told of an answer that the transport does not carry.
    """
    log.warning(
        "site_failure", cluster=cluster, code=failure.code, text=failure.message[:LOGGED_TEXT]
    )
    if failure.code is FailureCode.RESPONSE_TOO_LARGE:
        return errors.AnswerTooLarge(too_large)
    if failure.code is FailureCode.DUPLICATE:
        return _under_way(cluster)
    known = _SITE_ERRORS.get(failure.code)
    if known is None:
        return contract_broken(cluster, f"{failure.code}: {failure.message[:LOGGED_TEXT]}")
    kind, text = known
    return kind(text.format(cluster=cluster))


def interrupted(cluster: str, *, began: bool) -> errors.BackendInterrupted:
    """Return the error of a request whose link is gone; it has run, or may have."""
    if began:
        return errors.BackendInterrupted(
            f"The connection to the cluster '{cluster}' was lost within the answer. What came of "
            "it is good; the rest is lost."
        )
    return errors.BackendInterrupted(
        f"The connection to the cluster '{cluster}' was lost before the answer came. The request "
        "may have run, so it was not sent again; you may send it again."
    )


def contract_broken(cluster: str, reason: str) -> errors.BackendUnavailable:
    """Say that gateway and site do not fit together; only operators can help."""
    log.error("site_contract_broken", cluster=cluster, reason=reason)
    return errors.BackendUnavailable(
        f"The cluster '{cluster}' is not set up correctly. The operators must act."
    )


def _under_way(cluster: str) -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"The cluster '{cluster}' has the request already. It may have run."
    )
    error.retry_after_s = None
    return error


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
    FailureCode.ENGINE_BROKE_OFF: (
        errors.BackendInterrupted,
        "The engine on '{cluster}' broke off. The request may have run, and was not sent again.",
    ),
    FailureCode.SITE_FAILED: (
        errors.BackendInterrupted,
        "The cluster '{cluster}' failed. The request may have run, and was not sent again.",
    ),
    FailureCode.BUSY: (
        errors.BackendUnavailable,
        "Too many requests for the cluster '{cluster}' are under way. Try again shortly.",
    ),
    FailureCode.DRAINING: (
        errors.BackendUnavailable,
        "The model's instance on the cluster '{cluster}' stops. Try again shortly.",
    ),
    FailureCode.HUB_UNREACHABLE: (
        errors.BackendUnavailable,
        "The cluster '{cluster}' cannot reach the gateway. The operators must act.",
    ),
    FailureCode.HUB_NOT_ALLOWED: (
        errors.BackendUnavailable,
        "The cluster '{cluster}' does not send answers to this gateway. The operators must act.",
    ),
    FailureCode.CALLER_LEFT: (
        errors.BackendInterrupted,
        "The connection to the cluster '{cluster}' was lost before the answer came. Send it again.",
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
