"""What callers are told when a link to an instance does not bring their answer."""

from __future__ import annotations

from compute_functions.contract import ContractError, SiteFailure
from compute_functions.contract.relay import AnswerError
from resource_server.adapters.site_failures import contract_broken, site_error
from resource_server.domain import errors

#: An instance whose link was cut is back after so long, as a rule (seconds).
BACK_AFTER_S = 2.0


def not_sent(cluster: str) -> errors.HotnodeError:
    """Return the error of a request of which not all has left this process: it did not run."""
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"The connection to the cluster '{cluster}' was lost just now. Try again in a moment."
    )
    error.retry_after_s = BACK_AFTER_S
    return error


def too_many(cluster: str) -> errors.HotnodeError:
    """Return the error of a request for which there is no room."""
    error: errors.HotnodeError = errors.BackendUnavailable(
        f"Too many requests for the cluster '{cluster}' are under way. Try again in a moment."
    )
    error.retry_after_s = BACK_AFTER_S
    return error


def no_room(cluster: str) -> errors.HotnodeError:
    """Return the error of an answer that came when too many others were held."""
    return ran(
        errors.BackendUnavailable(
            f"Too many large answers of the cluster '{cluster}' are under way. Ask for a stream."
        )
    )


def silent(cluster: str) -> errors.BackendTimeout:
    """Return the error of a request of which nothing was heard for too long."""
    return errors.BackendTimeout(
        f"The model's instance on the cluster '{cluster}' did not answer in time. Ask for less."
    )


def of_site(cluster: str, payload: bytes) -> errors.HotnodeError:
    """Return the error that a relay tells of."""
    try:
        error = AnswerError.from_payload(payload)
    except ContractError as problem:
        # A newer relay may know more kinds of failures: no reason to give up all other requests.
        return ran(contract_broken(cluster, str(problem)))
    return site_error(cluster, SiteFailure(code=error.code, message=error.message))


def ran(error: errors.HotnodeError) -> errors.HotnodeError:
    """Return the error of a request that has run: nobody is invited to repeat it."""
    error.retry_after_s = None
    return error
