"""A batch in five numbers, by the names that users of ALCF's service know."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from batch.journal.recorded import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """`response_time` is for how long lines were worked on, by all runners together (seconds).

    `num_responses` counts sound answers, `lines_processed` all recorded lines.
    """

    response_time: float
    throughput_tokens_per_second: float
    total_tokens: int
    num_responses: int
    lines_processed: int

    def to_wire(self) -> dict[str, float]:
        """Return a JSON-ready dict."""
        return asdict(self)


def of(recorded: Recorded, working_s: float) -> Metrics:
    """Return the metrics of what is recorded."""
    tokens = recorded.use.total_tokens
    return Metrics(
        response_time=round(working_s, 3),
        throughput_tokens_per_second=round(tokens / working_s, 3) if working_s > 0 else 0.0,
        total_tokens=tokens,
        num_responses=recorded.completed,
        lines_processed=recorded.count,
    )
