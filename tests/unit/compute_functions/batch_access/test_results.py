"""Results among a person's files: given to that person, over nothing that was there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compute_functions.batch_access import acl, results, walk
from compute_functions.batch_access.access import Sink
from compute_functions.batch_access.acl import ENTER, READ, WRITE
from compute_functions.batch_access.person import Person
from compute_functions.batch_access.results import SharedFolder
from compute_functions.errors import AccessRefused
from tests.support.batch_orders import names, order
from tests.support.open_folder import ALICE, BOB, OTHERS, PROJECT, owned

ALICES = Person(uid=ALICE, gids=frozenset({PROJECT}))
BOBS = Person(uid=BOB, gids=frozenset({PROJECT}))

pytestmark = pytest.mark.row("C-46", "C-48")


def hello(file: Sink) -> None:
    file.write(b"hello\n")


@pytest.fixture
def out(shared: Path) -> Path:
    return owned(shared / "out", uid=ALICE, gid=PROJECT, mode=0o770)


@contextmanager
def opened(out: Path, name: str = "mine", person: Person = ALICES) -> Iterator[SharedFolder]:
    with walk.writable_folder(out, person) as outer, results.opened(outer, name, person) as folder:
        yield folder


def test_the_names_are_those_of_the_pattern() -> None:
    wanted = order(model="vendor/Model 1.5", input_name="my input.jsonl", created_at=1_790_000_000)

    assert results.folder_name(wanted) == "my input_vendor-Model-1.5_batch_00000001"
    assert results.file_name(wanted, "results.jsonl") == "my input_20260921-141320.results.jsonl"


@pytest.mark.parametrize("name", [".jsonl", "ä" * 120 + ".jsonl", "..x", "a" * 250])
def test_names_are_always_names(name: str) -> None:
    wanted = order(model="m" * 300, input_name=name, batch="b" * 64)

    for made in (results.folder_name(wanted), results.file_name(wanted, "progress.json")):
        assert len(made.encode()) <= 255
        assert not made.startswith(".")


def test_the_person_gets_the_results_and_nobody_else(out: Path) -> None:
    with opened(out) as folder:
        path = Path(folder.put("a.jsonl", hello))
    assert path.read_text() == "hello\n"
    assert names(path.parent) == ["a.jsonl"]

    with walk.folder(path.parent, ALICES) as found:
        found.require(ALICES, READ | WRITE | ENTER)
        with found.child("a.jsonl") as file:
            file.require(ALICES, READ | WRITE)
            with pytest.raises(AccessRefused):
                file.require(BOBS, READ)
    assert path.stat().st_uid == os.geteuid()


def test_what_is_there_is_not_written_over(out: Path) -> None:
    with opened(out) as folder:
        first = Path(folder.put("a.jsonl", hello))
        folder.put("a.jsonl", lambda file: file.write(b"other") and None)
    assert first.read_text() == "hello\n"

    victim = owned(out / "victim.txt", uid=ALICE, gid=PROJECT, mode=0o600)
    (out / "mine" / "b.jsonl").symlink_to(victim)
    with opened(out) as folder:
        for put in (folder.put, folder.replace):
            with pytest.raises(AccessRefused, match=r"b\.jsonl: something else is in the way"):
                put("b.jsonl", hello)
    assert victim.read_text() == "secret\n"
    assert names(out / "mine") == ["a.jsonl", "b.jsonl"]


def test_a_file_of_the_persons_own_is_not_taken_for_the_results(out: Path) -> None:
    with opened(out) as folder:
        owned(out / "mine" / "a.jsonl", uid=ALICE, gid=PROJECT, mode=0o600)
        for put in (folder.put, folder.replace):
            with pytest.raises(AccessRefused, match=r"a\.jsonl: something else is in the way"):
                put("a.jsonl", hello)
    assert (out / "mine" / "a.jsonl").read_text() == "secret\n"


def test_our_own_file_is_replaced_in_one_step(out: Path) -> None:
    with opened(out) as folder:
        folder.replace("p.json", hello)
        before = (out / "mine" / "p.json").stat().st_ino
        folder.replace("p.json", lambda file: file.write(b"more") and None)
    assert (out / "mine" / "p.json").read_text() == "more"
    assert (out / "mine" / "p.json").stat().st_ino != before


def test_a_disk_that_fails_leaves_nothing_behind(out: Path) -> None:
    def fail(file: Sink) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with opened(out) as folder, pytest.raises(OSError, match="No space"):
        folder.put("a.jsonl", fail)
    assert names(out / "mine") == []


def test_a_folder_that_may_not_be_written_is_refused(out: Path) -> None:
    out.chmod(0o550)
    with pytest.raises(AccessRefused, match=r"out: you may not write and enter it"), opened(out):
        pass
    assert names(out) == []


@pytest.mark.parametrize("kind", ["link", "file", "theirs"])
def test_something_of_that_name_is_left_alone(out: Path, kind: str) -> None:
    if kind == "link":
        (out / "mine").symlink_to("/etc")
    elif kind == "file":
        (out / "mine").write_text("x")
    else:
        owned(out / "mine", uid=ALICE, gid=PROJECT, mode=0o777)
    with pytest.raises(AccessRefused, match="mine: something else is in the way"), opened(out):
        pass


def test_a_folder_made_for_another_person_cannot_be_had_by_renaming_it(out: Path) -> None:
    with opened(out, "alices") as folder:
        folder.put("a.jsonl", hello)
    (out / "alices").rename(out / "bobs")

    with (
        pytest.raises(AccessRefused, match="bobs: something else is in the way"),
        opened(out, "bobs", BOBS),
    ):
        pass
    with walk.folder(out, ALICES) as outer, outer.child("bobs") as found:
        assert found.acl() == acl.shared_with(ALICE, READ | WRITE | ENTER)


def test_nor_where_new_folders_get_the_group_of_the_outer_one(out: Path) -> None:
    """As projects have it. An ACL's mask then stands in the mode where the group's rights stood."""
    out.chmod(0o2770)
    with opened(out, "alices") as folder:
        folder.put("a.jsonl", hello)
    (out / "alices").rename(out / "bobs")

    with (
        pytest.raises(AccessRefused, match="bobs: something else is in the way"),
        opened(out, "bobs", BOBS),
    ):
        pass
    with walk.folder(out, ALICES) as outer, outer.child("bobs") as found:
        assert found.acl() == acl.shared_with(ALICE, READ | WRITE | ENTER)


def test_a_folder_whose_maker_died_before_it_was_shared_is_taken(out: Path) -> None:
    (out / "mine").mkdir(0o700)
    with opened(out) as folder:
        folder.put("a.jsonl", hello)
    assert names(out / "mine") == ["a.jsonl"]


def without_acls(monkeypatch: pytest.MonkeyPatch, number: int = errno.EOPNOTSUPP) -> None:
    """Be on a file system that knows no ACLs, and says so with this error."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "setxattr", refuse)


def test_without_acls_the_folders_own_group_gets_them_if_the_person_is_in_it(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_acls(monkeypatch)
    os.chown(out, ALICE, os.getegid())
    person = Person(uid=ALICE, gids=frozenset({os.getegid()}))
    with opened(out, person=person) as folder:
        file = Path(folder.put("a.jsonl", hello))
        assert folder.group == os.getegid()
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o770
    assert file.stat().st_gid == os.getegid()
    with opened(out, person=person) as folder:
        folder.put("b.jsonl", hello)
    assert names(file.parent) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("number", "group"),
    [(errno.EOPNOTSUPP, OTHERS), (errno.EPERM, os.getegid()), (errno.EINVAL, os.getegid())],
)
def test_where_results_cannot_be_given_it_is_said_at_once_and_nothing_stays(
    out: Path, monkeypatch: pytest.MonkeyPatch, number: int, group: int
) -> None:
    """With rules of its own for ACLs, a file system's mode bits may mean anything."""
    without_acls(monkeypatch, number)
    os.chown(out, ALICE, group)
    person = Person(uid=ALICE, gids=frozenset({PROJECT, os.getegid()}))
    with (
        pytest.raises(AccessRefused, match="results cannot be given to you there"),
        opened(out, person=person),
    ):
        pass
    assert names(out) == []
