"""What an instance is to be: written by the site's agent before it submits a job, read by the job.

An order stands in the site's directory for as long as its instance may live. An instance whose
order is gone ends.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory

#: The longest name of an instance, as of a host.
LONGEST_NAME = 63
_SUFFIX_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One instance: which model, how many GPUs, for how long.

    `instance` is its name, never used twice. `engine_file` and `model_file` are the site's own.
    `submitted_at` is seconds since the epoch; `generation` and `fence` tell which desired state and
    which agent it is of. `hot` is whether the model is kept up always: the site may give such jobs
    another partition or quality of service. With a `purpose` it is for that alone, and no caller's
    request comes there.
    """

    instance: str
    model: str
    framework: str
    engine_file: str
    model_file: str
    gpus: int
    walltime_s: float
    submitted_at: float
    generation: int
    fence: int
    hot: bool = False
    purpose: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one file; a file that is none of ours raises `ConfigurationError`.

        Fields of later versions are passed over: jobs outlive an update of the site.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            known = {field.name for field in fields(cls)} & values.keys()
            order = cls(**{name: values[name] for name in known})
            order._check(path.stem)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"{path} is not an order: {error}") from error
        return order

    def _check(self, instance: str) -> None:
        """Raise `ValueError` or `TypeError` for values that an order cannot have."""
        if self.instance != instance:
            raise ValueError(f"it is the order of {self.instance!r}")
        for number in (self.gpus, self.walltime_s, self.submitted_at, self.generation, self.fence):
            if not math.isfinite(number):
                raise ValueError(f"{number!r} in it is no number")

    @staticmethod
    def file(site: SiteDirectory, instance: str) -> Path:
        """Return where the order of an instance stands."""
        return site.orders / f"{instance}.json"

    def write(self, site: SiteDirectory) -> None:
        """Put the order into the site's directory."""
        private_file.write(self.file(site, self.instance), json.dumps(asdict(self)))


def new_name(model: str) -> str:
    """Return a name for another instance of a model."""
    suffix = secrets.token_hex(_SUFFIX_BYTES)
    return f"{slug(model)[: LONGEST_NAME - len(suffix) - 1].rstrip('-')}-{suffix}"


def slug(model: str) -> str:
    """Return a model's id as part of a file's or a job's name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", model).strip("-").lower() or "model"
