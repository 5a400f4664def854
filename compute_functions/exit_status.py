"""With which status the commands end that run an instance, whoever started them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compute_functions import errors

log = logging.getLogger("hotnode.launcher")

STOPPED, ENGINE_FAILED, NOT_STARTED = 0, 1, 2


@dataclass(slots=True)
class ExitStatus:
    """What the command's `code` is, once its work is over."""

    code: int = STOPPED


@contextmanager
def of_an_instance() -> Iterator[ExitStatus]:
    """Turn the errors of an instance's run into a line of the log, and a status."""
    status = ExitStatus()
    try:
        yield status
    except errors.EngineFailed as error:
        log.error("engine_failed %s", error)  # noqa: TRY400 # the traceback is not the engine's
        status.code = ENGINE_FAILED
    except (errors.ConfigurationError, errors.AlreadyRunning) as error:
        log.error("not_started %s", error)  # noqa: TRY400 # the operator's error, not a program's
        status.code = NOT_STARTED
