"""The section `batches` of `site.yaml`: whether and how the site takes batches."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from compute_functions.operator_yaml import Section

_GIB = 1 << 30
_QUANTUM_S = 600.0
_SHARE = 0.5
_SLOWDOWN = 1.25
#: Nothing is measured so well that less than a twentieth could be told from chance.
_LEAST_SLOWDOWN, _MOST_SLOWDOWN = 1.05, 100.0
#: Whole numbers, each with the least that it may be.
_NUMBERS = {
    "most_active_per_owner": 1,
    "most_bytes": 1,
    "keep_free_bytes": 0,
    "runners_per_instance": 1,
}


class AccessMode(StrEnum):
    """As whom the site reads and writes files of its users."""

    #: As the service's account, which evaluates for each person what that person may do.
    ACCOUNT = "account"
    #: As the person, by a small program that runs as that person's account.
    USER = "user"


#: Each field, and the modes of access in which it does something.
_FIELDS = {
    "folders": frozenset(AccessMode),
    "open_folders": frozenset({AccessMode.ACCOUNT}),
    "identities_file": frozenset(AccessMode),
    "identity_mapping": frozenset(AccessMode),
    "run_as": frozenset({AccessMode.USER}),
    "helper": frozenset({AccessMode.USER}),
}
#: What stands for a user in `run_as`.
_PLACE = re.compile(r"\{[^}]*\}")
_PLACES = frozenset({"{user}", "{uid}", "{gid}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Who may use which paths, how much there may be, and how much of an instance batches get.

    Without `access` no paths are taken: inputs are uploaded at the gateway, and it fetches the
    results. Paths lie below `folders`; files that everybody may read also below `open_folders`.
    `identities_file` says which local user a person is, or `identity_mapping`, a file as the
    endpoint's own. In the mode `user` files are used by a program that `run_as` starts as the
    person: an argument list, in which {user}, {uid} and {gid} are replaced, followed by `helper`,
    the operators' copy of that program, or by our own. `most_active_per_owner` batches of a person
    may be here that are not over, an input has at most `most_bytes`, and so many bytes of the
    spool's file system stay free. An instance works on `runners_per_instance` batches at once; one
    gives way to others after `quantum_s`. While there are interactive requests, batches get at most
    `share` of what an instance can do, and less where that makes the latest one in a hundred of
    first tokens come later than `slowdown` times as late as without batches.
    """

    access: AccessMode | None = None
    folders: tuple[Path, ...] = ()
    open_folders: tuple[Path, ...] = ()
    identities_file: Path | None = None
    identity_mapping: Path | None = None
    run_as: tuple[str, ...] = ()
    helper: Path | None = None
    most_active_per_owner: int = 20
    most_bytes: int = _GIB
    keep_free_bytes: int = 10 * _GIB
    runners_per_instance: int = 1
    quantum_s: float = _QUANTUM_S
    share: float = _SHARE
    slowdown: float = _SLOWDOWN

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the section; an empty one takes uploads only."""
        section.allow(*cls.__slots__)
        numbers = {
            name: section.whole_number(name, least=least)
            for name, least in _NUMBERS.items()
            if section.has(name)
        }
        settings = cls(
            access=_access(section),
            folders=_folders(section, "folders"),
            open_folders=_folders(section, "open_folders"),
            identities_file=_file(section, "identities_file"),
            identity_mapping=_file(section, "identity_mapping"),
            run_as=_run_as(section),
            helper=_file(section, "helper"),
            quantum_s=section.seconds("quantum_s") if section.has("quantum_s") else _QUANTUM_S,
            share=section.fraction("share") if section.has("share") else _SHARE,
            slowdown=(
                section.number(
                    "slowdown", least=_LEAST_SLOWDOWN, most=_MOST_SLOWDOWN, unit="times as late"
                )
                if section.has("slowdown")
                else _SLOWDOWN
            ),
            **numbers,
        )
        settings._check(section)
        return settings

    def _check(self, section: Section) -> None:
        """Refuse what would silently do nothing."""
        for name, modes in _FIELDS.items():
            if section.has(name) and self.access not in modes:
                words = " or ".join(sorted(modes))
                raise section.wrong(name, f"does nothing without access: {words}")
        if self.identities_file is not None and self.identity_mapping is not None:
            raise section.wrong("identity_mapping", "there is an identities_file as well")
        if self.folders and self.identities_file is None and self.identity_mapping is None:
            raise section.wrong("folders", "nobody could use them without an identities_file")
        if self.access is AccessMode.USER and not self.run_as:
            raise section.wrong("access", "user needs run_as, the command that changes the user")


def _access(section: Section) -> AccessMode | None:
    if not section.has("access"):
        return None
    text = section.text("access")
    try:
        return AccessMode(text)
    except ValueError:
        raise section.wrong("access", f"{text!r} is unknown; known are account, user") from None


def _run_as(section: Section) -> tuple[str, ...]:
    """Return the command that changes the user; without a place for one it would change nothing."""
    if not section.has("run_as"):
        return ()
    command = section.texts("run_as")
    places = {place for part in command for place in _PLACE.findall(part)}
    if not places <= _PLACES:
        unknown = ", ".join(sorted(places - _PLACES))
        raise section.wrong("run_as", f"{unknown} is unknown; known are {{user}}, {{uid}}, {{gid}}")
    if not places & {"{user}", "{uid}"}:
        raise section.wrong("run_as", "has neither {user} nor {uid}: it changes no user")
    if shutil.which(command[0]) is None:
        raise section.wrong("run_as", f"there is no program {command[0]}")
    return command


def _folders(section: Section, name: str) -> tuple[Path, ...]:
    if not section.has(name):
        return ()
    folders = tuple(Path(text) for text in section.texts(name))
    for folder in folders:
        if not folder.is_absolute() or ".." in folder.parts or folder == Path("/"):
            raise section.wrong(name, f"{folder} must be an absolute path, and not the root")
        if not folder.is_dir():
            raise section.wrong(name, f"there is no folder {folder}")
    return folders


def _file(section: Section, name: str) -> Path | None:
    if not section.has(name):
        return None
    file = section.file.absolute().parent / section.text(name)
    if not file.is_file():
        raise section.wrong(name, f"there is no file {file}")
    return file
