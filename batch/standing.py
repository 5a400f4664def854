"""How a runner stands: what it needs to tell its progress, and later the outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from batch import metrics
from batch.assembly import Assembled
from batch.beginning import Known
from batch.line_error import LineError
from batch.outcome import Outcome, Status
from batch.progress import Progress, Rate, Stage
from batch.sending import Sending
from batch.use import Use

_NOTHING = Assembled(output=None, error_file=None)


class Standing:
    """Filled in as the runner gets on. `earlier` is the progress that the last runner told."""

    def __init__(self, epoch: int, earlier: Mapping[str, Any] | None) -> None:
        self._epoch = epoch
        told = self._told = earlier or {}
        self._started_at = float(told.get("started_at") or time.time())
        self._earlier_s = float(told.get("working_s") or 0.0)
        self._rate = Rate()
        self._working_since: float | None = None
        self._worked_s = 0.0
        self.stage = Stage.VALIDATING
        self.batch: Known | None = None
        self.sending: Sending | None = None
        #: Why this runner gave up its engine, if that refused everything.
        self.refusal = ""

    def working(self) -> None:
        """Note that lines are being worked on from now."""
        self._working_since = time.monotonic()
        self.stage = Stage.RUNNING

    def rested(self) -> None:
        """Note that no line is worked on any more."""
        self._worked_s = self._this_run_s()
        self._working_since = None

    @property
    def working_s(self) -> float:
        """For how long lines were worked on, by all runners."""
        return self._earlier_s + self._this_run_s()

    def progress(self) -> Progress:
        """Return how it stands now."""
        batch, sending = self.batch, self.sending
        trouble = "" if sending is None or self.stage is not Stage.RUNNING else sending.trouble
        stage = Stage.WAITING if trouble else self.stage
        if batch is None:
            return self._as_told(stage)
        recorded = batch.recorded
        self._rate.saw(time.monotonic(), recorded.count)
        return Progress(
            stage=stage,
            reason=self.refusal or trouble,
            refusal=self.refusal,
            total=recorded.total,
            recorded=recorded.count,
            completed=recorded.completed,
            failed=recorded.failed,
            under_way=0 if sending is None else sending.under_way,
            limit=0 if sending is None else sending.limit,
            rate=self._rate.lines_per_s,
            left_s=self._rate.left_s(recorded.total - recorded.count),
            use=recorded.use,
            metrics=metrics.of(recorded, self.working_s),
            started_at=self._started_at,
            at=time.time(),
            working_s=round(self.working_s, 3),
            epoch=self._epoch,
            resumed=batch.resumed,
        )

    def outcome(
        self,
        status: Status,
        *,
        assembled: Assembled = _NOTHING,
        errors: tuple[LineError, ...] = (),
        error_count: int = 0,
        reason: str = "",
    ) -> Outcome:
        """Return the outcome of a batch that ends so."""
        progress = self.progress()
        manifest = None if self.batch is None else self.batch.manifest
        return Outcome(
            status=status,
            total=progress.total,
            completed=progress.completed,
            failed=progress.failed,
            error_count=error_count,
            errors=errors,
            reason=reason,
            model=None if manifest is None else manifest.model,
            endpoint=None if manifest is None else manifest.endpoint,
            use=progress.use,
            metrics=progress.metrics,
            output=assembled.output,
            error_file=assembled.error_file,
            started_at=progress.started_at,
            ended_at=time.time(),
            working_s=progress.working_s,
            epoch=self._epoch,
            resumed=progress.resumed,
        )

    def _as_told(self, stage: Stage) -> Progress:
        """Return how it stands before the journal is read: no line is lost, so nothing falls."""
        told = self._told
        return Progress(
            stage=stage,
            total=_count(told, "total"),
            recorded=_count(told, "recorded"),
            completed=_count(told, "completed"),
            failed=_count(told, "failed"),
            use=Use.from_wire(told.get("use")),
            started_at=self._started_at,
            at=time.time(),
            working_s=round(self.working_s, 3),
            epoch=self._epoch,
            resumed=_count(told, "resumed"),
        )

    def _this_run_s(self) -> float:
        if self._working_since is None:
            return self._worked_s
        return self._worked_s + time.monotonic() - self._working_since


def _count(told: Mapping[str, Any], name: str) -> int:
    """Return a count of another runner, who may be of another version."""
    value = told.get(name)
    return value if type(value) is int and value >= 0 else 0
