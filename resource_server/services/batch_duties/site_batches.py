"""What a site can be asked about batches, in values: `run_batch` and `batch_file` behind calls."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from compute_functions.contract import (
    ContractError,
    FailureCode,
    JsonObject,
    SiteFailure,
    versioned,
)
from compute_functions.contract.batches import (
    MOST_REASON,
    BatchCall,
    BatchFile,
    BatchOrder,
    BatchReport,
    BatchReports,
    BatchVerb,
    Piece,
    PieceCall,
)
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.site_functions import SiteFunction
from resource_server.ports import SiteCalls

log = logging.getLogger(__name__)

#: So many batches are named in one call: their reports must fit into one answer.
ASKED_AT_ONCE = 50
#: So much of a site's own words goes into the log (characters).
LOGGED = 1000
#: A site that says this of a batch says it again.
_REFUSALS = (FailureCode.BATCH_REFUSED, FailureCode.INVALID_REQUEST)
_NOT_NOW = "the site cannot do it now"
#: What a batch's owner is told where it helps to know whose turn it is to act.
_IN_OUR_WORDS = {
    FailureCode.SITE_MISCONFIGURED: (
        "the site is not set up correctly for batches; its operators must act"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSays:
    """What a site says of some batches, by their ids, and which of them it does not know."""

    reports: Mapping[str, BatchReport]
    unknown: frozenset[str]


class SiteBatches:
    """The batches of one cluster's site.

    Every method may be called again. Each raises an `UpstreamError` if the site does not answer
    as it should; what is said of a single batch is a `SiteRefusal`.
    """

    def __init__(self, calls: SiteCalls, cluster: Cluster) -> None:
        self._calls = calls
        self._cluster = cluster

    async def submit(self, order: BatchOrder) -> BatchReport:
        """Hand in an order; return how the batch is."""
        says = await self._run(BatchCall(verb=BatchVerb.SUBMIT, order=order))
        report = says.reports.get(order.batch)
        if report is None:
            raise self._broken("it says nothing of a batch that it took")
        return report

    async def say(self, verb: BatchVerb, batches: Collection[str]) -> SiteSays:
        """Cancel, report or forget batches; return what the site says of them."""
        reports: dict[str, BatchReport] = {}
        unknown: set[str] = set()
        ids = tuple(batches)
        while ids:
            asked = ids[:ASKED_AT_ONCE]
            says = await self._say_of(verb, asked)
            ids = ids[len(asked) :]
            reports |= says.reports
            unknown |= says.unknown
        return SiteSays(reports=reports, unknown=frozenset(unknown))

    async def _say_of(self, verb: BatchVerb, asked: tuple[str, ...]) -> SiteSays:
        """Ask about some; where their reports are too long together, about each half."""
        try:
            return await self._run(BatchCall(verb=verb, batches=asked))
        except errors.SiteRefusal as refusal:
            # It is about no single one of them.
            raise errors.BackendUnavailable(refusal.message) from refusal
        except errors.AnswerTooLarge:
            if len(asked) == 1:
                raise
        half = len(asked) // 2
        first = await self._say_of(verb, asked[:half])
        second = await self._say_of(verb, asked[half:])
        return SiteSays(
            reports={**first.reports, **second.reports}, unknown=first.unknown | second.unknown
        )

    async def put(self, batch: str, offset: int, content: bytes) -> int:
        """Hand over a piece of an input; return how many bytes the site has now."""
        call = PieceCall(batch=batch, file=BatchFile.INPUT, offset=offset, content=content)
        return (await self._piece(call)).size

    async def get(self, batch: str, file: BatchFile, offset: int) -> Piece:
        """Fetch a piece of what a batch left."""
        return await self._piece(PieceCall(batch=batch, file=file, offset=offset))

    async def _run(self, call: BatchCall) -> SiteSays:
        wire = await self._call(SiteFunction.RUN_BATCH, call.to_wire())
        try:
            found = BatchReports.from_wire(wire)
        except ContractError as error:
            raise self._broken(str(error)) from error
        return SiteSays(
            reports={report.batch: report for report in found.reports},
            unknown=frozenset(found.unknown),
        )

    async def _piece(self, call: PieceCall) -> Piece:
        wire = await self._call(SiteFunction.BATCH_FILE, call.to_wire())
        try:
            return Piece.from_wire(wire)
        except ContractError as error:
            raise self._broken(str(error)) from error

    async def _call(self, function: SiteFunction, wire: JsonObject) -> JsonObject:
        answer = await self._calls.call(self._cluster, function, wire)
        try:
            if versioned(answer).get("kind") != "failure":
                return answer
            failure = SiteFailure.from_wire(answer)
        except ContractError as error:
            raise self._broken(str(error)) from error
        raise self._error(function, failure)

    def _error(self, function: SiteFunction, failure: SiteFailure) -> errors.HotnodeError:
        said = {"cluster": self._cluster.name, "function": function, "code": failure.code}
        log.warning("site_refuses", extra=said | {"text": failure.message[:LOGGED]})
        words = "".join(filter(str.isprintable, failure.message))[:MOST_REASON]
        if failure.code is FailureCode.BATCH_UNKNOWN:
            return errors.BatchUnknownThere(words)
        if failure.code in _REFUSALS:
            return errors.BatchRefusedThere(words)
        if failure.code is FailureCode.RESPONSE_TOO_LARGE:
            return errors.AnswerTooLarge("The site's answer is too large.")
        if failure.code is FailureCode.BUSY:
            return errors.BatchNotNow(words)
        # Its words may name hosts and paths.
        return errors.BatchNotNow(_IN_OUR_WORDS.get(failure.code, _NOT_NOW))

    def _broken(self, reason: str) -> errors.BackendUnavailable:
        """Say that gateway and site do not fit together; only operators can help."""
        told = {"cluster": self._cluster.name, "reason": reason[:LOGGED]}
        log.error("site_contract_broken", extra=told)
        return errors.BackendUnavailable(
            f"The cluster '{self._cluster.name}' is not set up correctly. The operators must act."
        )
