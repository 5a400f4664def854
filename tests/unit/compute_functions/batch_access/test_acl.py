"""What an ACL allows: as the kernel says, and never more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute_functions.batch_access import acl, walk
from compute_functions.batch_access.acl import Entry, Rights, Tag
from compute_functions.batch_access.person import ANYBODY, Person
from compute_functions.errors import AccessRefused
from tests.support.open_folder import ALICE, BOB, OTHERS, PROJECT, owned

HERE = Path(__file__).parent
READ, WRITE, ENTER = acl.READ, acl.WRITE, acl.ENTER
_RIGHTS = st.integers(0, 7)


class Kernel:
    """Asks a process that becomes each person in turn."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def may(self, path: Path, person: Person, how: str) -> bool:
        asked = {"path": str(path), "how": how, "uid": person.uid, "gids": sorted(person.gids)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return bool(json.loads(self._process.stdout.readline()))


@pytest.fixture
def kernel(shared: Path) -> Iterator[Kernel]:
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, str(HERE / "as_person.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Kernel(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


@st.composite
def acls(draw: st.DrawFn) -> tuple[Entry, ...]:
    """Return an ACL that Linux takes, with users and groups of the tests."""
    users = draw(st.lists(st.sampled_from([ALICE, BOB]), unique=True).map(sorted))
    groups = draw(st.lists(st.sampled_from([PROJECT, OTHERS]), unique=True).map(sorted))
    named = [Entry(Tag.USER, draw(_RIGHTS), user) for user in users]
    grouped = [Entry(Tag.GROUP, draw(_RIGHTS), group) for group in groups]
    masked = bool(named or grouped) or draw(st.booleans())
    mask = [Entry(Tag.MASK, draw(_RIGHTS))] if masked else []
    return (
        Entry(Tag.OWNER, draw(_RIGHTS)),
        *named,
        Entry(Tag.OWNING_GROUP, draw(_RIGHTS)),
        *grouped,
        *mask,
        Entry(Tag.OTHERS, draw(_RIGHTS)),
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=acls(),
    owner=st.sampled_from([ALICE, 54_999]),
    group=st.sampled_from([PROJECT, 54_998]),
    gids=st.sets(st.sampled_from([PROJECT, OTHERS, 54_997]), min_size=1),
)
@pytest.mark.row("C-42")
def test_an_acl_allows_what_the_kernel_allows(
    shared: Path,
    kernel: Kernel,
    entries: tuple[Entry, ...],
    owner: int,
    group: int,
    gids: set[int],
) -> None:
    person = Person(uid=ALICE, gids=frozenset(gids))
    file, folder = shared / "file.txt", shared / "folder"
    file.write_text("x")
    folder.mkdir(exist_ok=True)
    (folder / "inside.txt").write_text("x")
    for path in (file, folder):
        os.chown(path, owner, group)
        os.setxattr(path, acl.ATTRIBUTE, acl.packed(entries))
    rights = Rights(uid=owner, gid=group, entries=entries)

    asked = ((file, READ, "read"), (file, WRITE, "write"), (folder, ENTER, "enter"))
    for path, wanted, how in (*asked, (folder, WRITE | ENTER, "make")):
        ours, kernels = rights.allow(person, wanted), kernel.may(path, person, how)
        assert ours <= kernels, (how, entries)
        # With an empty mask the kernel gives others' rights to whom an entry names: we do not.
        if all(one.rights for one in entries if one.tag is Tag.MASK):
            assert ours == kernels, (how, entries)


def test_what_the_kernel_keeps_is_what_is_written(shared: Path) -> None:
    file = owned(shared / "a.txt", uid=ALICE, gid=PROJECT, mode=0o600)
    entries = acl.shared_with(BOB, READ | WRITE)
    os.setxattr(file, acl.ATTRIBUTE, acl.packed(entries))

    assert os.getxattr(file, acl.ATTRIBUTE) == acl.packed(entries)
    with walk.folder(shared, ANYBODY) as folder, folder.child("a.txt") as found:
        assert found.acl() == entries
        found.require(Person(uid=BOB), READ | WRITE)
        with pytest.raises(AccessRefused, match="not everybody may read it"):
            found.require(ANYBODY, READ)


def test_one_group_must_give_all_that_is_wanted() -> None:
    entries = (
        Entry(Tag.OWNER, 7),
        Entry(Tag.OWNING_GROUP, READ),
        Entry(Tag.GROUP, WRITE, OTHERS),
        Entry(Tag.MASK, 7),
        Entry(Tag.OTHERS, 7),
    )
    rights = Rights(uid=1, gid=PROJECT, entries=entries)
    person = Person(uid=ALICE, gids=frozenset({PROJECT, OTHERS}))

    assert rights.allow(person, READ)
    assert rights.allow(person, WRITE)
    assert not rights.allow(person, READ | WRITE)
    assert rights.allow(Person(uid=ALICE), READ | WRITE | ENTER)


@pytest.mark.parametrize(
    "stored",
    [b"", b"\2", b"\3\0\0\0", b"\2\0\0\0\1", b"\2\0\0\0" + b"\x03\0\7\0\xff\xff\xff\xff"],
)
def test_what_is_no_acl_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"ACL|Tag"):
        acl.unpacked(stored)


@given(entries=acls())
def test_an_acl_is_read_as_it_was_written(entries: tuple[Entry, ...]) -> None:
    assert acl.unpacked(acl.packed(entries)) == entries


@given(st.binary(max_size=60))
def test_any_bytes_are_an_acl_or_an_error(stored: bytes) -> None:
    try:
        entries: Any = acl.unpacked(stored)
    except ValueError:
        return
    assert all(0 <= one.rights <= READ | WRITE | ENTER for one in entries)
