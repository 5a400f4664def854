"""What a runner is told while it runs: to end, how much to take, who else needs the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

#: News of interactive requests older than this is none: they may be there (seconds).
NEWS_AGE_S = 15.0
#: What callers leave over is not known any more after so long (seconds).
ALLOWANCE_AGE_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`control.json`. Without the file nobody wants anything.

    `given_up` is why no engine is asked any more, in words; empty while one is.
    """

    cancel: bool = False
    share: float = 1.0
    concurrency: int | None = None
    expires_at: float | None = None
    given_up: str = ""

    @classmethod
    def from_wire(cls, values: Mapping[str, object]) -> Self:
        """Read the file's object; a field that is none of its kind is as if it were not there."""
        share = _number(values.get("share"))
        concurrency = _number(values.get("concurrency"))
        given_up = values.get("given_up")
        return cls(
            cancel=values.get("cancel") is True,
            share=1.0 if share is None else min(max(share, 0.0), 1.0),
            concurrency=None if concurrency is None else max(int(concurrency), 1),
            expires_at=_number(values.get("expires_at")),
            given_up=given_up if isinstance(given_up, str) else "",
        )

    def expired(self, now: float) -> bool:
        """Whether no line may begin any more, at `now` (seconds since the epoch)."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The file that `--load` names: how many interactive requests the engine has.

    `allowance` is the part, from 0 to 1, of its share that a batch may take beside them.
    """

    interactive: int = 0
    allowance: float = 1.0

    @classmethod
    def from_wire(cls, values: Mapping[str, object] | None, *, now: float) -> Self:
        """Read the file's object. No file means no requests; old news, that there may be some.

        Such news hold a batch back no more than its share does: nobody may be there for hours.
        """
        if values is None:
            return cls()
        at, allowance = _number(values.get("at")), _number(values.get("allowance"))
        interactive = int(_number(values.get("interactive")) or 0)
        if at is None or now - at > NEWS_AGE_S:
            interactive = max(interactive, 1)
        if at is not None and now - at > ALLOWANCE_AGE_S:
            allowance = None
        return cls(
            interactive=interactive,
            allowance=1.0 if allowance is None else min(max(allowance, 0.0), 1.0),
        )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
