"""Goes on with a batch that ended before its end: a new one of the lines without a good answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from batch import remaining
from batch.client.downloading import fetch
from batch.client.errors import Mistaken, NothingLeft, Refused, WrongSetting
from batch.client.gateway import Gateway, Tell
from batch.client.hosted import RESUMED_FROM, Hosted
from batch.errors import DiskFailed, InputRefused
from batch.input_file import InputFile
from batch.validation import Validated

_GONE = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """The input of the new batch, and of how many lines it is made."""

    path: Path
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What a person has of the old batch: its input, the answers that it left."""

    input: Path | None = None
    output: Path | None = None


async def rest_of(gateway: Gateway, batch: Hosted, folder: Path, *, here: Here, tell: Tell) -> Rest:
    """Write what remains of a batch into `folder`; what is not `here` is fetched.

    Raises `NothingLeft` if all lines have a good answer, and `WrongSetting` if its answers can be
    had nowhere: nobody is to pay for all lines again without a word.
    """
    require_over(batch)
    _require_sound(batch, here)
    _require_here(here)
    if here.output is None and batch.answers_elsewhere:
        raise WrongSetting(
            f"{batch.answers_elsewhere}. Give a copy of them as --output, so that they are not "
            "asked for again. Or submit the whole input anew"
        )
    source = here.input or await _input(gateway, batch, folder, tell)
    done: set[str] = set()
    output = here.output
    if output is None and batch.output_file_id is not None:
        output = await _fetched(gateway, batch.output_file_id, folder / "output", tell)
    if output is not None:
        done = await asyncio.to_thread(remaining.answered_ids, output)
    rest = await asyncio.to_thread(_write, source, done, folder / "rest")
    if not rest.lines:
        raise NothingLeft(f"all lines of {batch.id} have a good answer")
    return rest


def require_over(batch: Hosted) -> None:
    """Raise `WrongSetting` for a batch that still goes on."""
    if not batch.over:
        raise WrongSetting(
            f"{batch.id} is {batch.status}: it goes on by itself. Or cancel it first"
        )


def _require_sound(batch: Hosted, here: Here) -> None:
    """Raise `WrongSetting` for an input with mistakes: who has the file must mend it."""
    if here.input is None and any(one.line is not None for one in batch.problems):
        raise WrongSetting(
            f"{batch.id} failed for its input has mistakes: mend the file, and submit that; or "
            "give it as --input"
        )


def _require_here(here: Here) -> None:
    """Raise `WrongSetting` for a file that is not where a person said: before any is fetched."""
    for path in (here.input, here.output):
        if path is not None and not path.is_file():
            raise WrongSetting(f"{path}: there is no such file")


def metadata_of(batch: Hosted) -> dict[str, str]:
    """Return what the new batch says about itself."""
    return {**batch.metadata, RESUMED_FROM: batch.id}


async def _input(gateway: Gateway, batch: Hosted, folder: Path, tell: Tell) -> Path:
    if batch.input_file_id is None:
        raise WrongSetting(f"the input of {batch.id} is a file of the cluster: give it as --input")
    try:
        return await _fetched(gateway, batch.input_file_id, folder / "input", tell)
    except Refused as refused:
        if refused.status != _GONE:
            raise
        raise WrongSetting(
            f"the input of {batch.id} is no longer at the gateway: give it as --input"
        ) from refused


async def _fetched(gateway: Gateway, file_id: str, target: Path, tell: Tell) -> Path:
    return (await fetch(gateway, file_id, target, tell)).path


def _write(source: Path, done: set[str], target: Path) -> Rest:
    try:
        with InputFile.open(source) as file, target.open("xb") as rest:
            lines = remaining.write_remaining(file, done, rest.write)
            file.require_unchanged()
    except InputRefused as refused:
        raise Mistaken(str(source), Validated.refused(refused.error)) from refused
    except OSError as error:
        raise DiskFailed(f"{target}: {error.strerror}") from error
    return Rest(path=target, lines=lines)
