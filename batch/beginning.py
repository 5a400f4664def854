"""What a runner does before its first request: take its turn, check the input, read the journal."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from batch import errors, pending
from batch.folder import Folder, Manifest
from batch.input_file import InputFile
from batch.journal import replay
from batch.journal.record import Seal
from batch.journal.recorded import Recorded
from batch.line_index import LineIndex
from batch.rules import Rules
from batch.splitting import LineSplitter
from batch.validation import Validated, validate

_log = logging.getLogger(__name__)


class InputFaulty(errors.BatchError):
    """The input has mistakes: the batch fails before the first request."""

    def __init__(self, found: Validated) -> None:
        super().__init__(found.refusal)
        self.found = found


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a batch without its input: what it is, and what is recorded of it."""

    manifest: Manifest
    recorded: Recorded
    seal: Seal

    @property
    def resumed(self) -> int:
        """How many runners there were before."""
        return len(self.seal.lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A batch that can be run: what is known of it, and where its lines are."""

    known: Known
    file: InputFile
    index: LineIndex

    @property
    def manifest(self) -> Manifest:
        """What was validated."""
        return self.known.manifest

    @property
    def recorded(self) -> Recorded:
        """What is recorded."""
        return self.known.recorded


def open_input(path: Path, folder: Folder) -> InputFile:
    """Open the input. One that was checked before and is gone now is the file system's fault."""
    if folder.manifest() is not None and not path.exists():
        raise errors.DiskFailed(f"{path} is not there any more")
    return InputFile.open(path)


def begin(folder: Folder, epoch: int, file: InputFile, rules: Rules) -> Begun:
    """Check the input, or that it is the one that was checked, and read the journal. Blocks."""
    manifest = folder.manifest()
    if manifest is None:
        manifest, index = _check(folder, file, rules)
    else:
        index = _recognise(file, manifest)
    known = know(folder, epoch, manifest)
    _log.info("begun epoch=%d lines=%d recorded=%d", epoch, manifest.total, known.recorded.count)
    return Begun(known=known, file=file, index=index)


def know(folder: Folder, epoch: int, manifest: Manifest) -> Known:
    """Read the journal as the runner of `epoch` finds it. Blocks."""
    seal = replay.new_seal(folder.journal, epoch)
    found = replay.replay(folder.journal, manifest.total, ends=seal.lengths)
    return Known(manifest=manifest, recorded=found.recorded, seal=seal)


def _check(folder: Folder, file: InputFile, rules: Rules) -> tuple[Manifest, LineIndex]:
    validated = validate(file, rules)
    if validated.error_count:
        raise InputFaulty(validated)
    own = Manifest.of(validated, rules)
    manifest = folder.put_manifest(own)
    if (manifest.bytes, manifest.sha256) != (own.bytes, own.sha256):
        raise pending.changed()
    return manifest, validated.index


def _recognise(file: InputFile, manifest: Manifest) -> LineIndex:
    """Find the lines of an input that was checked by an earlier runner."""
    if file.size != manifest.bytes:
        raise pending.changed()
    digest, index = hashlib.sha256(), LineIndex()
    splitter = LineSplitter(manifest.rules.most_line_bytes)
    for block in file.blocks():
        digest.update(block)
        for found in splitter.feed(block):
            index.take(found)
    for rest in splitter.finish():
        index.take(rest)
    if digest.hexdigest() != manifest.sha256:
        raise pending.changed()
    # Blank lines at the end are none.
    index.keep(manifest.total)
    return index
