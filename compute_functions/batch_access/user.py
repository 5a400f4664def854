"""The mode `user`: files are read and written by a small program that runs as the person."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from compute_functions.batch_access import as_user, owner, results, user_process, walk
from compute_functions.batch_access.access import Content
from compute_functions.batch_access.patience import Patience, Pauses
from compute_functions.batch_access.person import Person
from compute_functions.batch_access.user_process import Ended, Run, UserProcess
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import (
    AccessRefused,
    BatchRefused,
    ConfigurationError,
    FilesAway,
)

#: Our words for those of the program: none of its own reaches anybody.
_REFUSALS = {
    "absent": "there is no such file or folder",
    "enter": "you may not enter it",
    "full": "there is no room for you",
    "in_the_way": "something else is in the way",
    "link": "it is a link; give the path to which it leads",
    "name": "this is no name",
    "not_folder": "it is not a folder",
    "not_regular": "it is not a regular file",
    "read": "you may not read it",
    "write": "you may not write and enter it",
}
#: Of this process: whoever asks, the same person is waited for in vain.
_PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class UserAccess:
    """`Access` with the rights of each person's own account."""

    settings: BatchSettings
    patience: Patience
    pauses: Pauses = _PAUSES

    @contextmanager
    def input(self, order: BatchOrder) -> Iterator[UserFile]:
        """Hold the order's input file."""
        wanted = owner.input_path(order)
        person = owner.known(self.settings, order, wanted)
        path = walk.below(wanted, self.settings.folders).parts[1:]
        with self._process(person) as process:
            yield UserFile.held(process, path)

    @contextmanager
    def result_folder(self, order: BatchOrder, parent: str) -> Iterator[UserFolder]:
        """Hold the batch's own folder below `parent`, which is made unless it is there."""
        person = owner.known(self.settings, order, parent)
        path = walk.below(parent, self.settings.folders).parts[1:]
        with self._process(person) as process:
            yield UserFolder.held(process, path, results.folder_name(order))

    @contextmanager
    def _process(self, person: Person) -> Iterator[UserProcess]:
        if person.uid is None:
            raise AccessRefused("files are read for local users only")
        self.pauses.require_none(person.uid, self.patience)
        run = Run(uid=person.uid, patience=self.patience, pauses=self.pauses)
        with user_process.started(command(self.settings, person), run) as process:
            yield process


def command(settings: BatchSettings, person: Person) -> list[str]:
    """Return what runs the program as this person."""
    if person.gid is None and any("{gid}" in part for part in settings.run_as):
        raise ConfigurationError(
            "batches.run_as has {gid}, and no group of a user is known: give its gids"
        )
    # `sudo -u` takes a number after this sign.
    user = person.account or f"#{person.uid}"
    values = {"{user}": user, "{uid}": str(person.uid), "{gid}": str(person.gid)}
    return [*(_filled(part, values) for part in settings.run_as), *program(settings.helper)]


def program(helper: Path | None) -> list[str]:
    """Return the command of the program itself: the operators' copy, or our own file."""
    if helper is not None:
        return [str(helper)]
    return [sys.executable, "-I", "-S", str(Path(as_user.__file__).absolute())]


def _filled(part: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        part = part.replace(name, value)
    return part


def _answer(process: UserProcess, path: Sequence[str], wanted: str) -> Mapping[str, Any]:
    """Return what was wanted; raises why there is none. `path` is how far it may speak of one."""
    word = process.word()
    said = word.get("said")
    if said == wanted:
        return word
    why, at = word.get("why"), word.get("at")
    if said == "refused" and isinstance(why, str) and why in _REFUSALS:
        shown = path[:at] if type(at) is int else path
        raise AccessRefused(f"/{'/'.join(shown)}: {_REFUSALS[why]}")
    raise FilesAway("your account's files cannot be used now; tried again later")


@dataclass(frozen=True, slots=True)
class UserFile:
    """A file that such a program holds."""

    process: UserProcess
    parts: tuple[str, ...]
    size: int

    @classmethod
    def held(cls, process: UserProcess, parts: tuple[str, ...]) -> Self:
        """Have a file opened; `parts` are the components of its path."""
        process.tell(do="read", path=parts)
        size = _answer(process, parts, "held").get("size")
        if type(size) is not int or size < 0:
            raise FilesAway("what reads your account's files did not work; tried again later")
        return cls(process, parts, size)

    @property
    def path(self) -> str:
        """Its name to the person."""
        return "/" + "/".join(self.parts)

    def copy_to(self, target: BinaryIO) -> None:
        """Write it there; never more than was said."""
        self.process.tell(do="send")
        left = self.size
        while isinstance(found := self.process.frame(), bytes):
            # Small pieces would cost us more than whoever sends them.
            if len(found) != min(left, as_user.MOST_DATA):
                break
            left -= len(found)
            target.write(found)
        if left or found != {"said": "end", "changed": False}:
            raise BatchRefused(f"{self.path}: it changed while it was read")


@dataclass(frozen=True, slots=True)
class UserFolder:
    """A folder that such a program holds."""

    process: UserProcess
    parts: tuple[str, ...]

    @classmethod
    def held(cls, process: UserProcess, outer: tuple[str, ...], name: str) -> Self:
        """Have a folder made in another one, unless it is there."""
        process.tell(do="folder", path=outer, name=name)
        _answer(process, (*outer, name), "done")
        return cls(process, (*outer, name))

    @property
    def path(self) -> str:
        """Its name to the person."""
        return "/" + "/".join(self.parts)

    def put(self, name: str, write: Content) -> str:
        """Put a file there; one that is there is left as it is."""
        return self._send("put", name, write)

    def replace(self, name: str, write: Content) -> str:
        """Put a file there in the place of another one."""
        return self._send("replace", name, write)

    def _send(self, do: str, name: str, write: Content) -> str:
        self.process.tell(do=do, name=name)
        try:
            write(_Content(self.process))
        except Ended:
            pass  # It says why, in place of the answer.
        else:
            self.process.tell(do="end")
        _answer(self.process, (*self.parts, name), "done")
        return f"{self.path}/{name}"


@dataclass(frozen=True, slots=True)
class _Content:
    """What is written goes to the program."""

    process: UserProcess

    def write(self, data: bytes, /) -> int:
        self.process.give(data)
        return len(data)
