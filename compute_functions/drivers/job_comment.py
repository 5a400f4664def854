"""The comment by which a job is known to be ours, and which instance it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from typing_extensions import override

from compute_functions.orders import LONGEST_NAME, Order

_FORM = re.compile(
    rf"hotnode:i=([A-Za-z0-9][A-Za-z0-9-]{{0,{LONGEST_NAME - 1}}})"
    r";g=(\d{1,18});f=(\d{1,18});m=([^\s;]+)(?:;p=([a-z]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobComment:
    """`hotnode:i=<instance>;g=<generation>;f=<fence>;m=<model>`, enough to adopt a job.

    One with a purpose ends in `;p=<purpose>`. It has no blank and no quote: Slurm eats quotes in a
    script's `#SBATCH` lines.
    """

    instance: str
    generation: int
    fence: int
    model: str
    purpose: str = ""

    @classmethod
    def of(cls, order: Order) -> Self:
        """Return the comment for an order's job."""
        return cls(
            instance=order.instance,
            generation=order.generation,
            fence=order.fence,
            model=order.model,
            purpose=order.purpose,
        )

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return a job's comment; None if the job is somebody else's."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            return None
        return cls(
            instance=match[1],
            generation=int(match[2]),
            fence=int(match[3]),
            model=unquote(match[4]),
            purpose=match[5] or "",
        )

    @override
    def __str__(self) -> str:
        model = quote(self.model, safe="")
        said = f"hotnode:i={self.instance};g={self.generation};f={self.fence};m={model}"
        return f"{said};p={self.purpose}" if self.purpose else said
