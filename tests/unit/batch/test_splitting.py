"""A file cut into lines, however it is cut into blocks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.splitting import LineSplitter, RawLine, WholeLines

#: Texts with many line ends and marks, and lines of every length around the limits below.
CONTENTS = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"a", b"bcdefgh", b"\0"]), max_size=40
).map(b"".join)


def split(blocks: Iterable[bytes], most: int) -> list[RawLine]:
    splitter = LineSplitter(most)
    found: list[RawLine] = []
    for block in blocks:
        for part in splitter.feed(block):
            found.extend(part.lines() if isinstance(part, WholeLines) else [part])
    return [*found, *splitter.finish()]


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@given(CONTENTS, st.integers(1, 50))
def test_lines_are_what_stands_between_line_ends(content: bytes, size: int) -> None:
    lines = split(cut(content, size), 1_000)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert all(content[line.offset : line.offset + line.length] == line.content for line in lines)
    bare = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert [line.content for line in lines] == [
        part.removesuffix(b"\r") for part in bare[: len(bare) - (not bare[-1])]
    ]
    assert [line.ended for line in lines] == [True] * (len(bare) - 1) + [False] * bool(bare[-1])


@given(CONTENTS, st.integers(1, 50), st.integers(1, 12))
def test_long_lines_are_measured_and_the_others_stay(content: bytes, size: int, most: int) -> None:
    whole = split([content], 1_000)
    for line, plain in zip(split(cut(content, size), most), whole, strict=True):
        assert (line.number, line.ended) == (plain.number, plain.ended)
        if plain.length <= most:
            assert line == plain
        else:
            assert line.length > most


def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    splitter = LineSplitter(1_000)
    held = [list(splitter.feed(b"x" * 600)) for _ in range(10)]
    assert held == [[]] * 10
    (long, rest) = splitter.feed(b"y\nnext\n")
    assert long == RawLine(1, 0, b"", 6_001, True)
    assert isinstance(rest, WholeLines)
    assert list(rest.lines()) == [RawLine(2, 6_002, b"next", 4, True)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_marks_and_line_ends_do_not_make_a_line_too_long(mark: bytes, end: bytes) -> None:
    (line,) = split(cut(mark + b"x" * 20 + end, 3), 20)
    assert (line.content, line.offset) == (b"x" * 20, len(mark))
