"""Keeps two gateways from using one state directory at the same time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from resource_server.config import SettingInvalid

log = structlog.get_logger()

NAME = "gateway.lock"


@contextmanager
def held(state_dir: Path, *, alone: bool) -> Iterator[None]:
    """Hold the directory during the body, as the whole gateway or as one process of several.

    Raises `SettingInvalid`, and has touched nothing, while a gateway uses it that does not share.
    The kernel lets go when the process ends, however that is.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state_dir / NAME).open("a", encoding="ascii") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingInvalid(
                f"HOTNODE_STATE_DIR: another gateway is using {state_dir}. "
                "Stop it first, or give this one a directory of its own"
            ) from None
        except OSError as error:
            # Some network file systems have no locks; a gateway there runs as it did before.
            log.warning("state_dir_not_locked", directory=str(state_dir), reason=str(error))
        yield
