"""Looks an input through as soon as it is whole, where that takes a moment only.

What is larger a runner without an engine looks through, beside the site's agent.
"""

from __future__ import annotations

import logging
import time

from batch import errors
from batch.input_file import InputFile
from batch.rules import ENDPOINTS, Rules
from batch.validation import Validated, validate
from compute_functions.batch_spool.fate import Fate
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchOrder, BatchState, LineError

log = logging.getLogger(__name__)

#: An input of this size is looked through in a second or two, in some more where all lines are
#: wrong (bytes).
AT_ONCE_BYTES = 32 * 1024**2


def rules(order: BatchOrder) -> Rules:
    """Return which lines the batch takes."""
    return Rules(
        endpoints=ENDPOINTS.intersection(order.endpoints) if order.endpoints else ENDPOINTS,
        model=order.model,
        endpoint=order.endpoint,
        most_lines=order.most_lines,
        most_bytes=order.most_bytes,
        most_inputs=order.most_inputs,
        reserved=frozenset(order.reserved),
    )


def check(folder: BatchFolder, order: BatchOrder) -> None:
    """End the batch as failed if its input is small and wrong."""
    if folder.input.stat().st_size > AT_ONCE_BYTES:
        return
    try:
        with InputFile.open(folder.input) as file:
            found = validate(file, rules(order))
    except errors.InputRefused as error:
        found = Validated.refused(error.error)
    except errors.InputUnreadable as error:
        log.warning("batch_unchecked batch=%s error=%s", folder.batch, error)
        return
    if found.error_count:
        _failed(found).decide(folder)


def _failed(found: Validated) -> Fate:
    return Fate(
        at=time.time(),
        ended=BatchState.FAILED,
        reason=found.refusal,
        endpoint=found.endpoint,
        total=found.total,
        error_count=found.error_count,
        errors=tuple(LineError(**error.to_wire()) for error in found.errors),  # type: ignore[arg-type]  # the same fields
    )
