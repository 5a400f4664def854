"""What every mode of access to people's files promises: as the service's account, as the person.

The switch of the user and all rights are the kernel's own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_access.access import Access, Content, InputFile, ResultFolder, Sink
from compute_functions.batch_settings import AccessMode
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused, BatchRefused
from tests.support.as_user import (
    ELSEWHERE,
    GROUP,
    OTHER,
    USER,
    as_them,
    require_switch,
    users_site,
)
from tests.support.batch_orders import lines, names, order
from tests.support.open_folder import open_folder, owned

FOLDER = "input_org-tiny_batch_00000001"

pytestmark = pytest.mark.row("C-42", "C-46", "C-48", "C-69")


@dataclass(frozen=True, slots=True)
class Site:
    """A site in one mode, and the home of its user."""

    access: Access
    home: Path

    def input(self, path: Path | str = "", **changes: Any) -> AbstractContextManager[InputFile]:
        return self.access.input(self.order(path, **changes))

    def results(self, outer: Path | None = None) -> AbstractContextManager[ResultFolder]:
        return self.access.result_folder(self.order(), str(outer or self.home / "out"))

    def order(self, path: Path | str = "", **changes: Any) -> BatchOrder:
        values = {"upload": None, "input_path": str(path or self.home / "input.jsonl")}
        return order(**values | changes)

    def refusal(self, path: Path | str, **changes: Any) -> str:
        with pytest.raises(AccessRefused) as raised, self.input(path, **changes):
            pass
        return str(raised.value)


@pytest.fixture(params=["account", "user"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    require_switch()
    with open_folder() as folder:
        made = users_site(folder, access=request.param)
        yield Site(made.access, folder / "home")


def writing(content: bytes) -> Content:
    return lambda file: file.write(content)


def hello(file: Sink) -> None:
    file.write(b"hello\n")


def test_a_file_for_the_person_alone_is_held_and_copied(site: Site) -> None:
    target = io.BytesIO()
    with site.input() as found:
        assert (found.path, found.size) == (str(site.home / "input.jsonl"), len(lines()))
        found.copy_to(target)
    assert target.getvalue() == lines()


def test_a_file_of_any_length_comes_whole(site: Site) -> None:
    content = os.urandom(3 * (1 << 20) + 17)
    for size in (0, 1, 1 << 20, len(content)):
        (site.home / "input.jsonl").write_bytes(content[:size])
        target = io.BytesIO()
        with site.input() as found:
            found.copy_to(target)
        assert target.getvalue() == content[:size]


def test_what_need_not_be_read_is_not(site: Site) -> None:
    with site.input() as found:
        assert found.size == len(lines())


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{home}/none.jsonl", "{home}/none.jsonl: there is no such file or folder"),
        ("{home}/no/input.jsonl", "{home}/no: there is no such file or folder"),
        ("{home}/out", "{home}/out: it is not a regular file"),
        ("{home}/input.jsonl/x", "{home}/input.jsonl: it is not a folder"),
        ("{home}/link.jsonl", "{home}/link.jsonl: it is a link"),
        ("{home}/linked/input.jsonl", "{home}/linked: it is a link"),
        ("{home}/pipe", "{home}/pipe: it is not a regular file"),
        ("{home}/" + "n" * 300, "n: this is no name"),
        ("{home}/theirs/closed/input.jsonl", "{home}/theirs: you may not enter it"),
        ("{home}/theirs/none", "{home}/theirs: you may not enter it"),
        ("{home}/theirs.jsonl", "{home}/theirs.jsonl: you may not read it"),
        ("{home}/../input.jsonl", "it must be an absolute path without . and .."),
        ("/etc/passwd", "/etc/passwd: it is not below a folder that the cluster opens"),
    ],
)
def test_a_path_that_will_not_do_is_refused_and_says_where(
    site: Site, path: str, reason: str
) -> None:
    home = site.home
    (home / "link.jsonl").symlink_to(home / "input.jsonl")
    (home / "linked").symlink_to(home)
    os.mkfifo(home / "pipe")
    os.chown(home / "pipe", USER, GROUP)
    owned(home / "theirs", uid=OTHER, gid=ELSEWHERE, mode=0o700)
    owned(home / "theirs.jsonl", uid=OTHER, gid=ELSEWHERE, mode=0o640)

    assert reason.format(home=home) in site.refusal(path.format(home=home))


def test_a_text_that_is_no_path_is_refused(site: Site) -> None:
    """JSON can say half a character, which no file system can."""
    assert site.refusal(f"{site.home}/\ud800").endswith(": this is no name")
    with pytest.raises(AccessRefused, match="this is no name"), site.results(Path("/\ud800")):
        pass


def test_somebody_the_site_does_not_know_gets_nothing(site: Site) -> None:
    said = site.refusal("", owner=("stranger",), username="stranger@example.org")
    assert said == (
        f"{site.home / 'input.jsonl'}: the cluster does not know which of its users you are"
    )


class TargetThatTouches:
    """Takes a copy, and writes to the source meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        with self._path.open("ab") as file:
            file.write(b"more\n")
        return len(data)


def test_a_file_that_changes_while_it_is_read_is_refused(site: Site) -> None:
    path = site.home / "input.jsonl"
    path.write_bytes(bytes(3 << 20))
    target: Any = TargetThatTouches(path)
    with (
        site.input() as found,
        pytest.raises(BatchRefused, match="it changed while it was read"),
    ):
        found.copy_to(target)
    assert target.size <= 3 << 20


def test_a_file_that_shrinks_before_it_is_read_is_what_it_is_or_refused(site: Site) -> None:
    path = site.home / "input.jsonl"
    target = io.BytesIO()
    with site.input() as found:
        os.truncate(path, 5)
        try:
            found.copy_to(target)
        except BatchRefused as error:
            assert "it changed while it was read" in str(error)  # noqa: PT017 - either will do
        else:
            assert target.getvalue() == lines()[:5]


def test_a_folder_that_is_exchanged_for_a_link_leads_nowhere(site: Site) -> None:
    secret = owned(site.home.parent / "secret", uid=OTHER, gid=ELSEWHERE, mode=0o700)
    owned(secret / "input.jsonl", uid=OTHER, gid=ELSEWHERE, mode=0o600)
    inner = owned(site.home / "inner", uid=USER, gid=GROUP, mode=0o700)
    owned(inner / "input.jsonl", uid=USER, gid=GROUP, mode=0o600).write_text("mine\n")
    target = io.BytesIO()
    with site.input(inner / "input.jsonl") as found:
        inner.rename(site.home / "away")
        inner.symlink_to(secret)
        found.copy_to(target)
    assert target.getvalue() == b"mine\n"
    assert site.refusal(inner / "input.jsonl") == (
        f"{inner}: it is a link; give the path to which it leads"
    )


def test_results_are_the_persons_and_nobody_elses(site: Site) -> None:
    with site.results() as folder:
        path = folder.put("a.jsonl", hello)
        assert folder.path == str(site.home / "out" / FOLDER)
    assert path == f"{folder.path}/a.jsonl"

    assert as_them("cat", path) == "hello\n"
    assert as_them("ls", "-A", folder.path) == "a.jsonl\n"
    site.home.chmod(0o711)
    (site.home / "out").chmod(0o711)
    closed = 'cat "$0" 2>&1 || ls "$1" 2>&1 || echo closed'
    said = as_them("sh", "-c", closed, path, folder.path, user=OTHER, group=ELSEWHERE)
    assert said.endswith("closed\n")


def test_what_is_there_is_left_as_it_is_and_progress_is_replaced(site: Site) -> None:
    for content in (b"first\n", b"second\n"):
        with site.results() as folder:
            whole = folder.put("a.jsonl", writing(content))
            told = folder.replace("p.json", writing(content))
    assert Path(whole).read_bytes() == b"first\n"
    assert Path(told).read_bytes() == b"second\n"
    assert names(Path(folder.path)) == ["a.jsonl", "p.json"]


def test_a_long_file_comes_whole(site: Site) -> None:
    content = os.urandom(3 * (1 << 20) + 17)
    with site.results() as folder:
        path = Path(folder.put("a.jsonl", lambda file: file.write(content)))
        empty = Path(folder.put("b.jsonl", lambda file: file.write(b"")))
    assert path.read_bytes() == content
    assert empty.read_bytes() == b""


def test_nothing_is_written_through_a_link_or_over_something_else(site: Site) -> None:
    victim = owned(site.home / "victim.txt", uid=USER, gid=GROUP, mode=0o600)
    with site.results() as folder:
        pass
    made = Path(folder.path)
    (made / "a.jsonl").symlink_to(victim)
    owned(made / "b", uid=USER, gid=GROUP, mode=0o700)
    owned(made / "c.jsonl", uid=OTHER, gid=ELSEWHERE, mode=0o666)
    for name in ("a.jsonl", "b", "c.jsonl"):
        for do in ("put", "replace"):
            with (
                site.results() as folder,
                pytest.raises(AccessRefused, match="something else is in the way") as raised,
            ):
                getattr(folder, do)(name, hello)
            assert str(raised.value).startswith(f"{folder.path}/{name}: ")
    assert victim.read_text() == "secret\n"
    assert (made / "c.jsonl").read_text() == "secret\n"
    assert names(made) == ["a.jsonl", "b", "c.jsonl"]


@pytest.mark.parametrize("kind", ["link", "file", "theirs"])
def test_something_with_the_folders_name_is_left_alone(site: Site, kind: str) -> None:
    place = site.home / "out" / FOLDER
    if kind == "link":
        place.symlink_to("/tmp")  # noqa: S108 - a link that leads somewhere
    elif kind == "file":
        place.write_text("x")
    else:
        place.mkdir()
        os.chown(place, OTHER, ELSEWHERE)
        place.chmod(0o777)
    with (
        pytest.raises(AccessRefused, match=f"{FOLDER}: something else is in the way"),
        site.results(),
    ):
        pass


def test_a_folder_that_the_person_may_not_write_is_refused(site: Site) -> None:
    (site.home / "out").chmod(0o500)
    with pytest.raises(AccessRefused) as raised, site.results():
        pass
    assert str(raised.value) == f"{site.home / 'out'}: you may not write and enter it"
    assert names(site.home / "out") == []


def test_a_folder_that_is_exchanged_while_it_is_held_gets_nothing(site: Site) -> None:
    elsewhere = owned(site.home / "elsewhere", uid=USER, gid=GROUP, mode=0o700)
    with site.results() as folder:
        Path(folder.path).rename(site.home / "held")
        Path(folder.path).symlink_to(elsewhere)
        folder.put("a.jsonl", hello)
    assert names(elsewhere) == []
    assert names(site.home / "held") == ["a.jsonl"]


def test_content_that_breaks_off_leaves_nothing_behind(site: Site) -> None:
    def fail(file: Sink) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), site.results() as folder:
        folder.put("a.jsonl", fail)
    assert names(site.home / "out" / FOLDER) == []


def test_what_a_run_that_was_killed_left_of_a_file_goes_with_the_next(site: Site) -> None:
    is_theirs = site.access.settings.access is AccessMode.USER
    uid, gid = (USER, GROUP) if is_theirs else (os.geteuid(), os.getegid())
    with site.results() as folder:
        pass
    made, sign = Path(folder.path), "0123456789abcdef"
    ours = [f".{name}.{sign}.draft" for name in ("a.jsonl", "p.json")]
    for name in ours:
        owned(made / name, uid=uid, gid=gid, mode=0o600)
    # Whoever made these, they are no drafts of files of this batch.
    kept = [f".{name}.draft" for name in ("a.jsonl", f"a.jsonl.{sign}0", f"aXjsonl.{sign}", sign)]
    for name in kept:
        owned(made / name, uid=uid, gid=gid, mode=0o600)
    owned(made / f".a.jsonl.{sign[::-1]}.draft", uid=OTHER, gid=ELSEWHERE, mode=0o666)
    (made / f".a.jsonl.{'0' * 16}.draft").mkdir()
    os.chown(made / f".a.jsonl.{'0' * 16}.draft", uid, gid)
    kept += [f".a.jsonl.{sign[::-1]}.draft", f".a.jsonl.{'0' * 16}.draft"]
    for _ in range(2):
        with site.results() as folder:
            folder.put("a.jsonl", hello)
            folder.replace("p.json", hello)
    assert names(made) == sorted([*kept, "a.jsonl", "p.json"])


def test_a_batch_without_a_path_has_no_input(site: Site) -> None:
    with (
        pytest.raises(AccessRefused, match="names no input file"),
        site.access.input(order()),
    ):
        pass
