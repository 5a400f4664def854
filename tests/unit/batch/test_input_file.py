"""What may be opened as an input, and that it stays the same file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path, PosixPath

import pytest
from typing_extensions import override

from batch.errors import InputRefused, InputUnreadable
from batch.input_file import InputFile
from tests.support.batch_inputs import good_lines

MOST = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a good file that was last written long ago."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(20))
    os.utime(path, (1, 1))
    return path


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(InputRefused) as raised:
        action()
    assert raised.value.error.line is None
    assert str(raised.value) == raised.value.error.message
    return f"{raised.value.error.code}: {raised.value.error.message}"


def test_lines_can_be_read_again_by_their_place(path: Path) -> None:
    with InputFile.open(path) as file:
        lines = list(file.lines(most_line_bytes=MOST))
        assert [line.number for line in lines] == list(range(1, 21))
        for line in reversed(lines):
            assert file.line_at(line.offset, line.length) == line.content
        assert file.line_at(0, 0) == b""
        file.require_unchanged()


def test_lines_longer_than_a_block_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"a" * 5_000_000 + b"\n" + b"b" * 2_500_000 + b"\nc")
    with InputFile.open(path) as file:
        long, longer, last = file.lines(most_line_bytes=2_600_000)
        assert (long.length, long.content) == (5_000_000, b"")
        assert longer.content == file.line_at(5_000_001, 2_500_000) == b"b" * 2_500_000
        assert (last.content, last.ended) == (b"c", False)


def test_a_link_is_refused(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    assert refused(lambda: InputFile.open(link)) == (
        "not_a_file: the input is a link, not a regular file"
    )


def test_a_link_to_nothing_is_refused_as_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)
    assert "a link" in refused(lambda: InputFile.open(link))


def test_folders_may_be_links(path: Path) -> None:
    folder = path.parent / "folder"
    folder.symlink_to(path.parent)
    with InputFile.open(folder / path.name) as file:
        file.require_unchanged()


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "a pipe" in refused(lambda: InputFile.open(pipe))


def test_a_pipe_with_a_writer_is_refused_and_nothing_is_taken_from_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(descriptor, b"{}\n")
        assert "a pipe" in refused(lambda: InputFile.open(pipe))
        assert os.read(descriptor, 10) == b"{}\n"
    finally:
        os.close(descriptor)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert "a socket" in refused(lambda: InputFile.open(Path("socket")))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/dev/zero", "a device"),
        ("/", "a folder"),
        ("missing", "there is no such file"),
        ("in.jsonl/in.jsonl", "there is no such file"),
        ("a\0b", "no file's name"),
        ("x" * 300, "cannot be opened"),
    ],
)
def test_other_things_are_refused(path: Path, name: str, words: str) -> None:
    message = refused(lambda: InputFile.open(path.parent / name))
    assert message.startswith("not_a_file: ")
    assert words in message


def test_a_descriptor_that_is_no_files_is_refused_and_left_open() -> None:
    reading, writing = os.pipe()
    try:
        assert "a pipe" in refused(lambda: InputFile(reading))
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_can_be_taken_over_by_its_descriptor(path: Path) -> None:
    with InputFile(os.open(path, os.O_RDONLY)) as file:
        path.unlink()
        assert len(list(file.lines(most_line_bytes=MOST))) == 20
        file.require_unchanged()


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"{}\n")


def shrink(path: Path) -> None:
    os.truncate(path, 5)


def write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, (1, 1))
    other.replace(path)


def replace_by_link(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (grow, "it had"),
        (shrink, "and has 5"),
        (write_over, "it was written to"),
        (replace, "another file has taken its place"),
        (replace_by_link, "another file has taken its place"),
        (Path.unlink, "it was removed or renamed"),
    ],
)
def test_a_change_is_told(path: Path, change: Callable[[Path], None], words: str) -> None:
    with InputFile.open(path) as file:
        change(path)
        message = refused(file.require_unchanged)
    assert message.startswith("input_changed: the input changed while it was read: ")
    assert words in message


def test_what_was_added_is_not_read(path: Path) -> None:
    with InputFile.open(path) as file:
        lines = file.lines(most_line_bytes=MOST)
        next(lines)
        grow(path)
        assert len(list(lines)) == 19


def test_a_file_that_shrinks_under_the_reader_is_told(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(good_lines(20_000))
    with InputFile.open(path) as file:
        lines = file.lines(most_line_bytes=MOST)
        place = next(lines)
        os.truncate(path, 0)
        assert refused(lambda: list(lines)).endswith("it has become shorter")
        assert "shorter" in refused(lambda: file.line_at(place.offset, place.length))


def test_reading_that_fails_is_no_fault_of_the_file(path: Path) -> None:
    for_writing = os.open(path, os.O_WRONLY)
    with InputFile(for_writing) as file, pytest.raises(InputUnreadable, match="cannot be read"):
        next(file.blocks())


class PipeAfterALook(PosixPath):
    """A file whose place a pipe takes, once somebody has looked at it."""

    __slots__ = ()

    @override
    def lstat(self) -> os.stat_result:
        found = super().lstat()
        self.unlink()
        os.mkfifo(self)
        return found


class LinkAfterALook(PosixPath):
    """A file whose place a link takes, once somebody has looked at it."""

    __slots__ = ()

    @override
    def lstat(self) -> os.stat_result:
        found = super().lstat()
        replace_by_link(Path(self))
        return found


def test_what_takes_a_files_place_between_look_and_opening_is_refused(path: Path) -> None:
    other = path.with_name("another")
    other.write_bytes(b"")
    lowest = os.dup(0)
    os.close(lowest)
    assert "a pipe" in refused(lambda: InputFile.open(PipeAfterALook(path)))
    assert "cannot be opened" in refused(lambda: InputFile.open(LinkAfterALook(other)))
    again = os.dup(0)
    os.close(again)
    assert again == lowest


def test_a_file_that_may_not_be_read_is_refused(path: Path) -> None:
    path.parent.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        message = refused(lambda: InputFile.open(path))
    finally:
        if root:
            os.seteuid(0)
        path.parent.chmod(0o700)
    assert message == "not_a_file: the input may not be read"


def test_closing_gives_the_descriptor_back(path: Path) -> None:
    file = InputFile.open(path)
    descriptor = os.open(path, os.O_RDONLY)
    os.close(descriptor)
    file.close()
    file.close()
    lower = os.open(path, os.O_RDONLY)
    os.close(lower)
    assert lower < descriptor
    with pytest.raises(ValueError, match="closed"):
        file.require_unchanged()
