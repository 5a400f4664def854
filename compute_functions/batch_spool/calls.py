"""`run_batch` and `batch_file`: the bodies of the registered functions of the same names.

A task's site is the one that its environment names; the agent, which calls them too, knows its own.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial

from compute_functions import site_config
from compute_functions.batch_spool import control, forgetting, reporting, view
from compute_functions.batch_spool.folders import Spool
from compute_functions.batch_spool.pieces import Pieces
from compute_functions.batch_spool.submission import Submission
from compute_functions.contract import (
    ContractError,
    FailureCode,
    JsonObject,
    SiteFailure,
    UnsupportedProtocol,
)
from compute_functions.contract.batches import (
    BatchCall,
    BatchOrder,
    BatchReport,
    BatchReports,
    BatchVerb,
    Piece,
    PieceCall,
)
from compute_functions.errors import (
    BatchRefused,
    BatchUnknown,
    ConfigurationError,
    NoRoom,
    SiteError,
)
from compute_functions.site import SiteDirectory

log = logging.getLogger(__name__)

#: The first class of an error decides.
_CODES: tuple[tuple[type[Exception], FailureCode], ...] = (
    (UnsupportedProtocol, FailureCode.UNSUPPORTED_PROTOCOL),
    (ContractError, FailureCode.INVALID_REQUEST),
    (BatchUnknown, FailureCode.BATCH_UNKNOWN),
    (BatchRefused, FailureCode.BATCH_REFUSED),
    (NoRoom, FailureCode.BUSY),
    (ConfigurationError, FailureCode.SITE_MISCONFIGURED),
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def run_batch(wire: object, *, site: SiteDirectory | None = None) -> JsonObject:
    """Take, cancel, report or forget batches: a `BatchCall` to `BatchReports`, or a failure.

    Without `site` it is the one that the environment names.
    """
    return _guarded(lambda: _run(BatchCall.from_wire(wire), site or _site()).to_wire())


def batch_file(wire: object, *, site: SiteDirectory | None = None) -> JsonObject:
    """Take a piece of an input, or give one of a result: a `PieceCall` to a `Piece`."""
    return _guarded(lambda: _serve(PieceCall.from_wire(wire), site or _site()).to_wire())


def _serve(call: PieceCall, site: SiteDirectory) -> Piece:
    return Pieces(Spool.of(site)).serve(call)


def _run(call: BatchCall, site: SiteDirectory) -> BatchReports:
    if call.order is not None:
        return _submitted(call.order, site)
    spool, now = Spool.of(site), time.time()
    return _each(call.batches, partial(_do_and_report, spool, call.verb, now=now))


def _do_and_report(spool: Spool, verb: BatchVerb, batch: str, *, now: float) -> BatchReport:
    folder = spool.folder(batch)
    if verb is BatchVerb.FORGET:
        forgetting.forget(spool, batch, now=now)
    elif verb is BatchVerb.CANCEL and folder.order.exists():
        control.cancel(folder, now=now)
    return _report(spool, batch)


def _submitted(order: BatchOrder, site: SiteDirectory) -> BatchReports:
    spool = Spool.of(site)
    spool.prepare()
    Submission(spool=spool, config=site_config.load(site)).submit(order)
    return _each((order.batch,), partial(_report, spool))


def _each(batches: Iterable[str], told: Callable[[str], BatchReport]) -> BatchReports:
    """Return what is told of each batch.

    Of one that is damaged, or that the disk refuses, nothing is said; of all others it must be.
    Where the disk refuses and nothing can be said of any, it is the disk that fails.
    """
    said = [(batch, _told_or_why_not(batch, told)) for batch in batches]
    reports = tuple(one for _, one in said if isinstance(one, BatchReport))
    unknown = tuple(batch for batch, one in said if isinstance(one, BatchUnknown))
    failures = [one for _, one in said if isinstance(one, OSError)]
    if failures and not reports and not unknown:
        raise failures[0]
    return BatchReports(reports=reports, unknown=unknown)


def _told_or_why_not(
    batch: str, told: Callable[[str], BatchReport]
) -> BatchReport | BatchUnknown | ConfigurationError | OSError:
    try:
        return told(batch)
    except BatchUnknown as error:
        return error
    except ConfigurationError as error:
        log.exception("batch_unreadable batch=%s", batch)
        return error
    except OSError as error:
        log.exception("batch_refused_by_disk batch=%s", batch)
        return error


def _report(spool: Spool, batch: str) -> BatchReport:
    if spool.tombstone(batch).exists():
        raise BatchUnknown(f"the batch {batch} was forgotten")
    return reporting.report(view.read(spool.folder(batch)))


def _site() -> SiteDirectory:
    return SiteDirectory.from_environment(os.environ)


def _guarded(work: Callable[[], JsonObject]) -> JsonObject:
    """Return what `work` does, or the failure that it raises: a value, in every case."""
    try:
        return work()
    except (ContractError, SiteError) as error:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
        return _failure(code or FailureCode.SITE_FAILED, str(error))
    except OSError as error:
        # Its paths are the site's: what went wrong is for the gateway, where it did for the log.
        log.exception("spool_failed")
        code = FailureCode.BUSY if error.errno in _FULL else FailureCode.SITE_FAILED
        return _failure(code, f"the site's disk: {error.strerror or type(error).__name__}")


def _failure(code: FailureCode, message: str) -> JsonObject:
    return SiteFailure(code=code, message=message).to_wire()
