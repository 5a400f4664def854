"""How batches are at their site: what `run_batch` gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.batches.batch_fields import (
    MOST_BATCHES,
    MOST_ERRORS,
    MOST_FILE,
    MOST_LINES,
    MOST_REASON,
    absolute_path,
    batch_id,
    checked_id,
    optional_text,
    text_of,
)
from compute_functions.contract.batches.files import FileSum, optional_sum
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject


class BatchState(StrEnum):
    """How far a batch is at its site. The last four are final."""

    #: Its input file is on its way from the gateway.
    RECEIVING = "receiving"
    #: Its input is looked through, or is about to be.
    VALIDATING = "validating"
    #: It waits for its turn, or for an instance of its model.
    WAITING = "waiting"
    RUNNING = "running"
    #: All lines have an answer, or no more will; the files are being written.
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return self in _FINAL


_FINAL = frozenset(
    {BatchState.COMPLETED, BatchState.FAILED, BatchState.CANCELLED, BatchState.EXPIRED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """One mistake in an input file; `line` counts from 1, None for the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict, as OpenAI's `errors.data` has it."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a line's error")
        param = fields.present(values, "param")
        return cls(
            code=fields.text(values, "code"),
            message=fields.text(values, "message")[:MOST_REASON],
            line=fields.optional_count(values, "line"),
            param=None if param is None else fields.text(values, "param"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUse:
    """What a batch's answers cost so far (tokens), as the engine told."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a batch's use")
        return cls(**{name: fields.count(values, name) for name in cls.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """How a batch is at its site.

    `total` is 0 until the input was validated; `completed` lines have an answer with a status
    below 400, `failed` ones have another outcome. `errors` are the first `MOST_ERRORS` mistakes of
    `error_count`. `reason` says in words why it failed, or for what it waits. `output` and
    `error_file` are there when it is final; a file without lines is None. `results_path` and
    `progress_path` are files of the site, where the order named a place for them. `working_s` is
    for how long lines were being worked on; `lines_per_s` and `left_s` are estimates, None where
    nobody knows.
    """

    batch: str
    state: BatchState
    total: int = 0
    completed: int = 0
    failed: int = 0
    error_count: int = 0
    errors: tuple[LineError, ...] = ()
    reason: str = ""
    use: BatchUse = field(default_factory=BatchUse)
    model: str | None = None
    endpoint: str | None = None
    received: int = 0
    output: FileSum | None = None
    error_file: FileSum | None = None
    results_path: str | None = None
    progress_path: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    working_s: float = 0.0
    lines_per_s: float | None = None
    left_s: float | None = None
    resumed: int = 0

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            **asdict(self),
            "state": self.state.value,
            "errors": [error.to_wire() for error in self.errors],
            "use": self.use.to_wire(),
            "output": None if self.output is None else self.output.to_wire(),
            "error_file": None if self.error_file is None else self.error_file.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a batch's report")
        errors = fields.items(values, "errors", most=MOST_ERRORS)
        return cls(
            batch=batch_id(values),
            state=_state(values),
            total=fields.count(values, "total", most=MOST_LINES),
            completed=fields.count(values, "completed", most=MOST_LINES),
            failed=fields.count(values, "failed", most=MOST_LINES),
            error_count=fields.count(values, "error_count"),
            errors=tuple(LineError.from_wire(error) for error in errors),
            reason=fields.text(values, "reason")[:MOST_REASON],
            use=BatchUse.from_wire(values.get("use")),
            model=optional_text(values, "model"),
            endpoint=absolute_path(values, "endpoint"),
            received=fields.count(values, "received", most=MOST_FILE),
            output=optional_sum(values, "output"),
            error_file=optional_sum(values, "error_file"),
            results_path=absolute_path(values, "results_path"),
            progress_path=absolute_path(values, "progress_path"),
            started_at=fields.optional_number(values, "started_at"),
            ended_at=fields.optional_number(values, "ended_at"),
            working_s=fields.duration(values, "working_s"),
            lines_per_s=fields.optional_number(values, "lines_per_s"),
            left_s=fields.optional_number(values, "left_s"),
            resumed=fields.count(values, "resumed"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReports:
    """What `run_batch` gives: a report of each batch it was asked about that the site knows."""

    reports: tuple[BatchReport, ...] = ()
    unknown: tuple[str, ...] = ()

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "kind": "batches",
            "reports": [report.to_wire() for report in self.reports],
            "unknown": list(self.unknown),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        return cls(
            reports=tuple(
                BatchReport.from_wire(one)
                for one in fields.items(values, "reports", most=MOST_BATCHES)
            ),
            unknown=tuple(
                checked_id(text_of(one))
                for one in fields.items(values, "unknown", most=MOST_BATCHES)
            ),
        )


def _state(values: JsonObject) -> BatchState:
    try:
        return BatchState(fields.text(values, "state"))
    except ValueError:
        raise ContractError(f"unknown state {fields.quoted(values.get('state'))}") from None
