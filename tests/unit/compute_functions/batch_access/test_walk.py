"""Which files a person may have read: each way around the rules is refused, and says where."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typing_extensions import override

from compute_functions.batch_access import acl, walk
from compute_functions.batch_access.acl import READ, Entry, Tag
from compute_functions.batch_access.node import Node
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.errors import AccessRefused
from tests.support.open_folder import ALICE, BOB, OTHERS, PROJECT, owned

ALICES = Person(uid=ALICE, gids=frozenset({PROJECT}))
BOBS = Person(uid=BOB, gids=frozenset({OTHERS}))

pytestmark = [pytest.mark.row("C-42"), pytest.mark.row("C-69")]


def read(path: Path, person: Person) -> str:
    with walk.file(path, person) as found, found.reading() as descriptor:
        return os.read(descriptor, 100).decode()


def refusal(path: Path, person: Person) -> str:
    with pytest.raises(AccessRefused) as raised:
        read(path, person)
    return str(raised.value)


@pytest.fixture
def home(shared: Path) -> Path:
    """Return a folder of Alice's project with one file, closed to others."""
    folder = owned(shared / "project", uid=ALICE, gid=PROJECT, mode=0o750)
    owned(folder / "input.jsonl", uid=ALICE, gid=PROJECT, mode=0o640)
    return folder


def test_the_owner_and_the_group_read_it_and_others_do_not(home: Path) -> None:
    file = home / "input.jsonl"

    assert read(file, ALICES) == "secret\n"
    assert read(file, Person(uid=BOB, gids=frozenset({PROJECT}))) == "secret\n"
    assert refusal(file, BOBS) == f"{home}: you may not enter it"
    assert refusal(file, ANYBODY) == f"{home}: not everybody may enter it"


def test_a_refusal_does_not_say_what_lies_beyond(home: Path) -> None:
    assert refusal(home / "input.jsonl", BOBS) == refusal(home / "nothing.jsonl", BOBS)
    assert refusal(home / "nothing.jsonl", ALICES) == (
        f"{home / 'nothing.jsonl'}: there is no such file or folder"
    )


def test_everybody_reads_what_is_open_with_all_its_folders(shared: Path) -> None:
    folder = owned(shared / "open", uid=ALICE, gid=PROJECT, mode=0o755)
    file = owned(folder / "input.jsonl", uid=ALICE, gid=PROJECT, mode=0o644)
    assert read(file, ANYBODY) == "secret\n"

    file.chmod(0o640)
    assert refusal(file, ANYBODY) == f"{file}: not everybody may read it"
    file.chmod(0o644)
    folder.chmod(0o754)
    assert refusal(file, ANYBODY) == f"{folder}: not everybody may enter it"


def test_an_owner_without_rights_has_none(home: Path) -> None:
    file = home / "input.jsonl"
    file.chmod(0o044)

    assert refusal(file, ALICES) == f"{file}: you may not read it"


def test_an_acl_lets_one_user_in_as_far_as_its_mask_goes(home: Path) -> None:
    entries = (
        Entry(Tag.OWNER, 7),
        Entry(Tag.USER, 5, BOB),
        Entry(Tag.OWNING_GROUP, 5),
        Entry(Tag.MASK, 5),
        Entry(Tag.OTHERS, 0),
    )
    file = home / "input.jsonl"
    for path in (home, file):
        os.setxattr(path, acl.ATTRIBUTE, acl.packed(entries))
    assert read(file, BOBS) == "secret\n"

    masked = tuple(Entry(one.tag, 1, one.id) if one.tag is Tag.MASK else one for one in entries)
    os.setxattr(file, acl.ATTRIBUTE, acl.packed(masked))
    assert refusal(file, BOBS) == f"{file}: you may not read it"


def test_no_link_is_followed_wherever_it_stands(home: Path, shared: Path) -> None:
    (home / "link.jsonl").symlink_to("input.jsonl")
    (shared / "way").symlink_to(home)
    said = "it is a link; give the path to which it leads"

    assert refusal(home / "link.jsonl", ALICES) == f"{home / 'link.jsonl'}: {said}"
    assert refusal(shared / "way" / "input.jsonl", ALICES) == f"{shared / 'way'}: {said}"


def test_a_hard_link_does_not_lead_around_a_closed_folder(home: Path, shared: Path) -> None:
    (home / "input.jsonl").chmod(0o644)
    mallorys = owned(shared / "mallory", uid=BOB, gid=OTHERS, mode=0o755)
    (mallorys / "mine.jsonl").hardlink_to(home / "input.jsonl")

    assert refusal(mallorys / "mine.jsonl", BOBS) == (
        f"{mallorys / 'mine.jsonl'}: it has more than one name (hard links)"
    )


@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_without_waiting_for_it(shared: Path) -> None:
    os.mkfifo(shared / "pipe.jsonl", 0o644)
    os.mknod(shared / "null.jsonl", 0o020666, os.makedev(1, 3))
    (shared / "folder.jsonl").mkdir()

    for name in ("pipe", "null", "folder"):
        path = shared / f"{name}.jsonl"
        assert refusal(path, ANYBODY) == f"{path}: it is not a regular file"


def test_a_file_is_no_folder(home: Path) -> None:
    file = home / "input.jsonl"
    assert refusal(file / "more", ALICES) == f"{file}: it is not a folder"


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere_else(home: Path, shared: Path) -> None:
    """What was held when rights were looked at is what is read, whatever its name means now."""
    secrets = owned(shared / "secrets", uid=BOB, gid=OTHERS, mode=0o700)
    owned(secrets / "input.jsonl", uid=BOB, gid=OTHERS, mode=0o644).write_text("Bob's\n")
    with walk.folder(home, ALICES) as held:
        home.rename(shared / "moved")
        home.symlink_to(secrets)
        with held.child("input.jsonl") as found, found.reading() as descriptor:
            assert os.read(descriptor, 100) == b"secret\n"

    assert "it is a link" in refusal(home / "input.jsonl", ALICES)


def test_a_file_that_is_swapped_after_the_look_is_not_what_is_read(home: Path) -> None:
    with walk.file(home / "input.jsonl", ALICES) as found:
        (home / "input.jsonl").unlink()
        (home / "input.jsonl").symlink_to("/etc/passwd")
        with found.reading() as descriptor:
            assert os.read(descriptor, 100) == b"secret\n"


@pytest.mark.parametrize("path", ["a/b", "/open/../etc/passwd", "/open/./x", "/open/a\0b"])
def test_paths_are_absolute_and_plain(path: str) -> None:
    with pytest.raises(AccessRefused, match="must be an absolute path"):
        walk.below(path, [Path("/open")])


@pytest.mark.parametrize("path", ["/etc/passwd", "/opening/x", "/", "/ope"])
def test_paths_lie_below_the_folders(path: str) -> None:
    with pytest.raises(AccessRefused, match=re.escape(f"{path}: it is not below a folder")):
        walk.below(path, [Path("/open"), Path("/other")])


def test_the_operators_folder_may_be_a_link(home: Path, shared: Path) -> None:
    """As `/home` often is one: who wrote it into the site's file meant where it leads."""
    (shared / "alias").symlink_to(home)

    for start in (shared / "alias", home):
        where = walk.below(f"{start}//input.jsonl", [shared / "alias"])
        assert where == home.resolve() / "input.jsonl"
        assert read(where, ALICES) == "secret\n"


class OnNfs(Node):
    """A file whose rights are an NFSv4 ACL: it may deny what mode bits seem to allow."""

    @override
    def _attribute(self, name: str) -> bytes | None:
        return b"entries" if name == "system.nfs4_acl" else None


def test_rights_by_other_rules_are_not_guessed(shared: Path) -> None:
    file = owned(shared / "a.jsonl", uid=ALICE, gid=PROJECT, mode=0o644)
    with walk.folder(shared, ANYBODY) as folder, folder.child("a.jsonl") as found:
        found.require(ANYBODY, READ)
        elsewhere = OnNfs(descriptor=found.descriptor, path=str(file))
        with pytest.raises(AccessRefused, match="rights on this file system cannot be evaluated"):
            elsewhere.require(ALICES, READ)
