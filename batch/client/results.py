"""What a batch left, put where a person wants it; with the batches that it goes on with, merged."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch import remaining, whole_file
from batch.client import batches
from batch.client.downloading import Fetched, fetch
from batch.client.errors import NotAsTold, WrongSetting
from batch.client.gateway import Gateway, Tell
from batch.client.hosted import Hosted
from batch.errors import DiskFailed

#: Nobody resumes a batch so often.
_LONGEST_CHAIN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the answers go, and the lines that have none."""

    output: Path
    errors: Path


async def collect(
    gateway: Gateway, batch: Hosted, places: Places, tell: Tell
) -> tuple[Fetched | None, Fetched | None]:
    """Fetch both files of a batch; a file that it did not leave is None."""
    require_left(batch)
    return (
        await _fetched(gateway, batch.output_file_id, places.output, tell),
        await _fetched(gateway, batch.error_file_id, places.errors, tell),
    )


def require_left(batch: Hosted) -> None:
    """Raise `WrongSetting` for a batch that has no results yet."""
    if not batch.over:
        raise WrongSetting(f"{batch.id} is {batch.status}: it has no results yet")


async def chain(gateway: Gateway, batch: Hosted) -> list[Hosted]:
    """Return a batch and those that it goes on with, the first one first."""
    found = [batch]
    while (earlier := found[-1].resumed_from) is not None:
        if len(found) >= _LONGEST_CHAIN or any(one.id == earlier for one in found):
            raise NotAsTold(f"the batches that {batch.id} goes on with have no beginning")
        found.append(await batches.get(gateway, earlier))
    return found[::-1]


async def merge(
    gateway: Gateway, batch: Hosted, places: Places, tell: Tell
) -> tuple[int, Fetched | None]:
    """Write the good answers of a batch, and of all that it goes on with, into one file.

    Returns how many there are, and the lines that have none to this day: the batch's own.
    """
    require_left(batch)
    parts = await chain(gateway, batch)
    if missing := next((said for part in parts if (said := part.answers_elsewhere)), ""):
        raise WrongSetting(f"{missing}. Without them there is no whole file to be made")
    with tempfile.TemporaryDirectory(prefix="hotnode-results-") as name:
        outputs = [
            (await fetch(gateway, part.output_file_id, Path(name) / str(number), tell)).path
            for number, part in enumerate(parts)
            if part.output_file_id is not None
        ]
        count = await asyncio.to_thread(_joined, outputs, places.output)
    return count, await _fetched(gateway, batch.error_file_id, places.errors, tell)


def _joined(outputs: Iterable[Path], target: Path) -> int:
    """Write the first good answer of each line; the file is there in one step."""
    draft = target.with_name(f".{target.name}.part")
    try:
        count = _write(outputs, draft)
        whole_file.put(draft, target)
    except OSError as error:
        raise DiskFailed(f"{target}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return count


def _write(outputs: Iterable[Path], draft: Path) -> int:
    seen: set[str] = set()
    with draft.open("wb") as file:
        for output in outputs:
            for custom_id, line in remaining.answered(output):
                if custom_id not in seen:
                    seen.add(custom_id)
                    file.write(line.rstrip(b"\n") + b"\n")
    return len(seen)


async def _fetched(
    gateway: Gateway, file_id: str | None, target: Path, tell: Tell
) -> Fetched | None:
    return None if file_id is None else await fetch(gateway, file_id, target, tell)
