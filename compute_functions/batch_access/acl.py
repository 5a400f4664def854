"""A POSIX access control list: as Linux stores it in an attribute of a file, and what it allows."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from compute_functions.batch_access.person import Person

#: The attribute of a file or folder that has more than mode bits.
ATTRIBUTE = "system.posix_acl_access"
READ, WRITE, ENTER = 4, 2, 1
_ALL = READ | WRITE | ENTER
_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
#: In entries that name nobody.
NOBODY = 0xFFFFFFFF


class Tag(IntEnum):
    """For whom an entry is."""

    OWNER = 0x01
    USER = 0x02
    OWNING_GROUP = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHERS = 0x20


@dataclass(frozen=True, slots=True)
class Entry:
    """What one user, group or class may do; `id` says which user or group."""

    tag: Tag
    rights: int
    id: int = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who owns a file or folder, and what each may do with it."""

    uid: int
    gid: int
    entries: tuple[Entry, ...]

    @classmethod
    def of_mode(cls, *, uid: int, gid: int, mode: int) -> Rights:
        """Return the rights of a file that has mode bits alone."""
        entries = (
            Entry(Tag.OWNER, mode >> 6 & _ALL),
            Entry(Tag.OWNING_GROUP, mode >> 3 & _ALL),
            Entry(Tag.OTHERS, mode & _ALL),
        )
        return cls(uid=uid, gid=gid, entries=entries)

    def allow(self, person: Person, wanted: int) -> bool:
        """Whether the person has all rights of `wanted`.

        As acl(5) says: the first class to which the person belongs decides. One single entry of
        the group class must give everything that is wanted. The mask bounds all but the owner's
        and the others' entry; where it is empty the kernel may give a named user the others'
        rights, and we do not.
        """
        if person.uid is None:
            return self._first(Tag.OTHERS) & wanted == wanted
        if person.uid == self.uid:
            return self._first(Tag.OWNER) & wanted == wanted
        granted = [one.rights for one in self.entries if _names(one, person)]
        granted = granted or [one.rights for one in self.entries if self._holds(one, person)]
        if granted:
            return any(rights & self._mask & wanted == wanted for rights in granted)
        return self._first(Tag.OTHERS) & wanted == wanted

    def _holds(self, entry: Entry, person: Person) -> bool:
        """Whether the entry is one of the group class to which the person belongs."""
        if entry.tag is Tag.OWNING_GROUP:
            return self.gid in person.gids
        return entry.tag is Tag.GROUP and entry.id in person.gids

    @property
    def _mask(self) -> int:
        return next((one.rights for one in self.entries if one.tag is Tag.MASK), _ALL)

    def _first(self, tag: Tag) -> int:
        return next((one.rights for one in self.entries if one.tag is tag), 0)


def _names(entry: Entry, person: Person) -> bool:
    return entry.tag is Tag.USER and entry.id == person.uid


def unpacked(stored: bytes) -> tuple[Entry, ...]:
    """Return the entries of an attribute; `ValueError` for what Linux does not write."""
    if len(stored) < _HEADER.size or (len(stored) - _HEADER.size) % _ENTRY.size:
        raise ValueError("an ACL of this length is none")
    if _HEADER.unpack_from(stored)[0] != _VERSION:
        raise ValueError("an ACL of an unknown version")
    found = _ENTRY.iter_unpack(stored[_HEADER.size :])
    return tuple(Entry(Tag(tag), rights & _ALL, who) for tag, rights, who in found)


def packed(entries: Iterable[Entry]) -> bytes:
    """Return the attribute that holds the entries, which stand in the order of their tags."""
    body = (_ENTRY.pack(one.tag, one.rights, one.id) for one in entries)
    return _HEADER.pack(_VERSION) + b"".join(body)


def shared_with(uid: int, rights: int) -> tuple[Entry, ...]:
    """Return the ACL of something that its owner and one user have, and nobody else."""
    return (
        Entry(Tag.OWNER, rights),
        Entry(Tag.USER, rights, uid),
        Entry(Tag.OWNING_GROUP, 0),
        Entry(Tag.MASK, rights),
        Entry(Tag.OTHERS, 0),
    )
