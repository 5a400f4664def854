"""How our errors cross from the hub to a web process: as values, then as the same class again."""

from __future__ import annotations

from resource_server.adapters.hub.messages import Failure
from resource_server.domain import errors

#: What errors from behind the hub may carry beside their text.
_FACTS = ("limit_bytes", "lost_unanswered", "param", "retry_after_s", "task_id")
_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.HotnodeError)
}


def failure_of(error: errors.HotnodeError) -> Failure:
    """Return an error as a value."""
    own = vars(error)
    return Failure(
        kind=type(error).__name__,
        message=error.message,
        facts={name: own[name] for name in _FACTS if name in own},
    )


def error_of(failure: Failure) -> errors.HotnodeError:
    """Return the error that `failure_of` was given, of the same class."""
    kind = _KINDS[failure.kind]
    # Not by its constructor: each class has its own, and the facts are all here.
    error = kind.__new__(kind, failure.message)
    for name, fact in failure.facts.items():
        setattr(error, name, fact)
    return error


def surely_not_run(message: str, *, retry_after_s: float) -> errors.HotnodeError:
    """Return the error of a request that did not leave this process, or not the hub."""
    return _unavailable(message, retry_after_s)


def may_have_run(message: str) -> errors.HotnodeError:
    """Return the error of a request of which nobody knows: clients are not invited to repeat it."""
    return _unavailable(message, None)


def no_answer() -> errors.HotnodeError:
    """Return the error of a request to which the hub said something else than what came of it."""
    return may_have_run("The gateway's hub gave no answer.")


def _unavailable(message: str, retry_after_s: float | None) -> errors.HotnodeError:
    error: errors.HotnodeError = errors.BackendUnavailable(message)
    error.retry_after_s = retry_after_s
    return error
