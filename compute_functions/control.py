"""What an instance is told while it runs: written by the site's agent, read by the job."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Whether an instance must drain, since when, and how long its requests may take then.

    Times are seconds since the epoch; without `until` they may take as long as the instance's
    walltime does. A later file may set it earlier or later. An instance that drains goes on with
    that.
    """

    drain: bool
    since: float | None = None
    until: float | None = None

    @classmethod
    def read(cls, site: SiteDirectory, instance: str) -> Self | None:
        """Return what an instance is told; None if nothing.

        Raises `ConfigurationError` for a file that is none of ours, `OSError` for a disk that does
        not answer.
        """
        path = cls.file(site, instance)
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                drain=values["drain"] is True,
                since=_time(values.get("since")),
                until=_time(values.get("until")),
            )
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"{path} is no control file: {error}") from error

    @staticmethod
    def file(site: SiteDirectory, instance: str) -> Path:
        """Return where it stands what an instance is told."""
        return site.control / f"{instance}.json"

    def write(self, site: SiteDirectory, instance: str) -> None:
        """Tell an instance; it looks every second."""
        private_file.write(self.file(site, instance), json.dumps(asdict(self)))


def _time(value: float | None) -> float | None:
    return None if value is None else float(value)
