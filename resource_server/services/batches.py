"""Batches that people have done: create, list, look at, cancel, and what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from compute_functions.contract.batches import BatchReport, LineError
from resource_server.batch_ports import BatchTable, FileTable, StoredBytes
from resource_server.domain import batch_requests, errors, routing
from resource_server.domain.batch_draft import Draft
from resource_server.domain.batch_places import Wanted, place_for, require_offer
from resource_server.domain.batch_requests import BatchRequest
from resource_server.domain.batches import (
    EVERY_BATCH,
    Batch,
    BatchFilter,
    BatchStatus,
    is_batch_id,
    no_such_batch,
)
from resource_server.domain.catalog import Catalog
from resource_server.domain.files import Purpose, StoredFile, is_file_id, no_such_file
from resource_server.domain.identity import Person
from resource_server.domain.paging import Page, Paging
from resource_server.domain.routing import Base
from resource_server.ports import SiteViews
from resource_server.services.files import owners_of
from resource_server.services.first_line import model_of
from resource_server.services.sessions import CacheSalts

#: How many active batches may be there for one that has failed already.
NOT_ACTIVE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRules:
    """What holds for all batches: the longest window, and how long results are kept (seconds)."""

    longest_window_s: float = 604_800.0
    keep_s: float = 2_592_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMetrics:
    """How a batch went, in ALCF's words (row C-47). `response_time` is seconds of work in all."""

    response_time: float
    throughput_tokens_per_second: float
    total_tokens: int
    num_responses: int
    lines_processed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What a batch left, as ALCF shows it.

    `results_file` and `progress_file` are files of the cluster, or None; of an uploaded input the
    results are files of the gateway, named in `batch`.
    """

    batch: Batch
    results_file: str | None
    progress_file: str | None
    metrics: BatchMetrics


class Batches:
    """Everybody's own batches; another's reads as absent.

    A batch is a row before anything else happens, and a refused one is none. Everything after
    that is the controller's: no question here goes to a site.
    """

    def __init__(  # noqa: PLR0913 - what a batch is made of, each by its name
        self,
        catalog: Callable[[], Catalog],
        table: BatchTable,
        files: FileTable,
        disk: StoredBytes,
        *,
        views: SiteViews,
        salts: CacheSalts,
        rules: BatchRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._table = table
        self._files = files
        self._disk = disk
        self._views = views
        self._salts = salts
        self._rules = rules
        self._clock = clock

    def require_base(self, person: Person, base: Base) -> None:
        """Raise `Forbidden` or a `NotFound` if a base URL leads nowhere for somebody."""
        routing.require_base(self._catalog(), person, base)

    def require_offer(self, person: Person, base: Base) -> None:
        """Raise an error unless somebody may have batches done here, and so may upload files."""
        require_offer(self._catalog(), person, base)

    async def create(self, person: Person, base: Base, request: BatchRequest) -> Batch:
        """Return a new batch, or the one that was made with the same idempotency key.

        Its input's first line tells the model, if the request does not; if it does not either, the
        batch has failed and says why, as at OpenAI. Raises what `place_for` does, `InvalidRequest`,
        `TooManyBatches`, `IdempotencyKeyReused`.
        """
        window_s = batch_requests.require_sound(
            request, longest_window_s=self._rules.longest_window_s
        )
        self.require_offer(person, base)
        owners, digest = owners_of(person), request.digest(base)
        made = await self._table.made(owners, request.idempotency_key, digest)
        if made is not None:
            return made
        batch, most_active = await self._drafted(person, base, request, window_s=window_s)
        return await self._table.add(
            batch, owners, most_active=most_active, key=request.idempotency_key, digest=digest
        )

    async def list(
        self, person: Person, paging: Paging, wanted: BatchFilter = EVERY_BATCH
    ) -> Page[Batch]:
        """Return some of a person's batches, the newest first; `paging.batch_paging` reads which.

        They may have been made at any base URL.
        """
        return await self._table.page(owners_of(person), paging, wanted)

    async def get(self, person: Person, batch_id: str) -> Batch:
        """Return one, or raise `BatchNotFound`."""
        _require_id(batch_id)
        return await self._table.get(owners_of(person), batch_id)

    async def cancel(self, person: Person, batch_id: str) -> Batch:
        """Have one cancelled; what is done stays. It is `cancelling` until its site has said so.

        Who does it again changes nothing. Raises `BatchNotFound`, and `BatchOver` for one that has
        ended otherwise.
        """
        _require_id(batch_id)
        return await self._table.cancel(owners_of(person), batch_id, now=self._clock())

    async def result(self, person: Person, batch_id: str) -> BatchResult:
        """Return what one left.

        One that was cancelled or has expired may have left something, too. Raises
        `BatchNotFound`, `BatchNotOver`, and `BatchFailed`, which says why (row C-53).
        """
        batch = await self.get(person, batch_id)
        if not batch.status.final:
            raise errors.BatchNotOver(f"The batch is {batch.alcf_status}: it has no result yet.")
        report = batch.report
        if report is None or not _left_anything(batch, report):
            raise errors.BatchFailed(_why(batch))
        return BatchResult(
            batch=batch,
            results_file=report.results_path,
            progress_file=report.progress_path,
            metrics=_metrics(report),
        )

    async def _drafted(
        self, person: Person, base: Base, request: BatchRequest, *, window_s: float
    ) -> tuple[Batch, int]:
        """Return the batch as it will be, and how many active ones its owner may have."""
        file, now = await self._input(person, request), self._clock()
        draft = Draft(
            person=person,
            base=base,
            request=request,
            file=file,
            now=now,
            window_s=window_s,
            keep_s=self._rules.keep_s,
            cache_salt=self._salts.of(person),
        )
        model = await self._model(request, file)
        if isinstance(model, LineError):
            return draft.failed(model), NOT_ACTIVE
        place = place_for(
            self._catalog(),
            person,
            base,
            wanted=Wanted(model=model, endpoint=request.endpoint, at_site=file is None),
            view=self._views.view,
            now=now,
        )
        return draft.batch(place), place.offer.most_active

    async def _model(self, request: BatchRequest, file: StoredFile | None) -> str | LineError:
        """Return the model that a batch is for, or why its input does not tell."""
        if request.model is not None:
            return request.model
        if file is None:
            raise errors.InvalidRequest(
                "Name the model: the file is read only at the cluster.", param="model"
            )
        return await model_of(self._disk, file)

    async def _input(self, person: Person, request: BatchRequest) -> StoredFile | None:
        if request.input_file_id is None:
            return None
        try:
            if not is_file_id(request.input_file_id):
                raise no_such_file(request.input_file_id)
            file = await self._files.get(owners_of(person), request.input_file_id)
        except errors.StoredFileNotFound as error:
            raise errors.InvalidRequest(error.message, param="input_file_id") from error
        if file.purpose is not Purpose.BATCH:
            raise errors.InvalidRequest(
                "The input is a file that was uploaded with the purpose 'batch'.",
                param="input_file_id",
            )
        return file


def _require_id(batch_id: str) -> None:
    """Raise `BatchNotFound` for what no batch is called: databases choke on some of it."""
    if not is_batch_id(batch_id):
        raise no_such_batch()


def _left_anything(batch: Batch, report: BatchReport) -> bool:
    if batch.status is BatchStatus.FAILED:
        return False
    found = (report.results_path, batch.output_file_id, batch.error_file_id)
    return batch.status is BatchStatus.COMPLETED or any(found)


def _why(batch: Batch) -> str:
    """Return in words why a batch has no result."""
    first = batch.errors[0] if batch.errors else None
    if first is not None and first.line is not None:
        return f"The batch has failed. Line {first.line}: {first.message}"
    if first is not None:
        return f"The batch has failed. {first.message}"
    return f"The batch is {batch.status}. {batch.reason}".strip()


def _metrics(report: BatchReport) -> BatchMetrics:
    tokens = report.use.input_tokens + report.use.output_tokens
    return BatchMetrics(
        response_time=report.working_s,
        throughput_tokens_per_second=tokens / report.working_s if report.working_s else 0.0,
        total_tokens=tokens,
        num_responses=report.completed,
        lines_processed=report.completed + report.failed,
    )
