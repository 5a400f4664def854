"""One of the agent's files that holds one JSON value: read if it is whole, replaced in one step."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from compute_functions import private_file

log = logging.getLogger(__name__)


def read(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds; the caller looks at it
    """Return the value; None if there is no file, or one that is damaged, which is logged."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        log.error("file_damaged path=%s error=%s", path, error)  # noqa: TRY400 - the reason says all
        return None


def write(path: Path, value: object) -> None:
    """Put the value there."""
    private_file.write(path, json.dumps(value, separators=(",", ":")))


def text(value: object) -> str:
    """Return the value as a person reads it."""
    return json.dumps(value, indent=2)
