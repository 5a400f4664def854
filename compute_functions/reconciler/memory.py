"""What the reconciler carries from one look at the site to the next, and can do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from compute_functions.reconciler.model_key import ModelKey

#: The fields of a model's memory that are times.
_TIMES = (
    *("failed_at", "waiting_since", "spare_since", "quiet_since", "short_since", "asked_at"),
    *("yielded_at", "released_at", "undesired_since"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMemory:
    """What was seen of one model. Times are seconds since the epoch, None for not at present.

    `failures` counts failed starts in a row, `failed_at` is the last. Since `waiting_since`
    requests wait, since `spare_since` it has more instances than it needs, since `quiet_since`
    no request is under way, since `short_since` there is no room for it. It was last asked for
    at `asked_at`, last gave way to another at `yielded_at`, and an unloaded instance was last
    seen at `released_at`. Since `undesired_since` nobody desires it any more. `target` is how many
    instances it was to have.
    """

    failures: int = 0
    failed_at: float | None = None
    waiting_since: float | None = None
    spare_since: float | None = None
    quiet_since: float | None = None
    short_since: float | None = None
    asked_at: float | None = None
    yielded_at: float | None = None
    released_at: float | None = None
    undesired_since: float | None = None
    target: int | None = None

    def failed(self, now: float) -> Self:
        """Return what is known after another start failed."""
        return replace(self, failures=self.failures + 1, failed_at=now)

    def shifted(self, seconds: float) -> Self:
        """Return the same by a clock that was set forward by so many seconds."""
        times = {name: _later(getattr(self, name), seconds) for name in _TIMES}
        return replace(self, **times)  # type: ignore[arg-type]  # times, by the names above


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that is carried. Start with an empty one.

    `suspects` are nodes, each with the time until which it is avoided. `unproven` are the instances
    that may yet fail to start, with their models; `blamed` those whose failure is counted already;
    `mute` those that run without a registration, and since when.
    """

    models: Mapping[ModelKey, ModelMemory] = field(default_factory=dict)
    suspects: Mapping[str, float] = field(default_factory=dict)
    unproven: Mapping[str, ModelKey] = field(default_factory=dict)
    blamed: frozenset[str] = frozenset()
    mute: Mapping[str, float] = field(default_factory=dict)

    def of(self, key: ModelKey) -> ModelMemory:
        """Return what is known of a model."""
        return self.models.get(key, ModelMemory())

    def submitted(self, key: ModelKey, instance: str) -> Self:
        """Return what is known after a job was submitted: if it is never seen, its start failed."""
        return replace(self, unproven={**self.unproven, instance: key})

    def shifted(self, seconds: float) -> Self:
        """Return the same by a clock that was set forward by so many seconds."""
        return replace(
            self,
            models={key: one.shifted(seconds) for key, one in self.models.items()},
            suspects={node: until + seconds for node, until in self.suspects.items()},
            mute={instance: since + seconds for instance, since in self.mute.items()},
        )

    def refused(self, key: ModelKey, now: float) -> Self:
        """Return what is known after the scheduler refused a job: a start that failed."""
        return replace(self, models={**self.models, key: self.of(key).failed(now)})


def _later(at: float | None, seconds: float) -> float | None:
    return None if at is None else at + seconds
