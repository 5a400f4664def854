"""A form that is read while it comes: the same, whatever the pieces in which it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resource_server.api.form_stream import MAX_PARTS, FormStream
from resource_server.domain.errors import InvalidRequest

BOUNDARY = b"edge"
#: What a scanner may mistake for a boundary.
CONFUSING = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--edg", b"edge", b"\r\n", b"x", b"\x00"]),
    max_size=12,
).map(b"".join)
CONTENTS = CONFUSING.filter(lambda content: b"\r\n--edge" not in b"\r\n" + content)


def form(contents: list[bytes]) -> bytes:
    parts = (
        b'--edge\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n%b\r\n' % (number, content)
        for number, content in enumerate(contents)
    )
    return b"".join(parts) + b"--edge--\r\n"


async def cut(body: bytes, sizes: list[int]) -> AsyncIterator[bytes]:
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    yield body[at:]


async def read(body: bytes, sizes: list[int]) -> list[tuple[str, bytes]]:
    stream = FormStream(cut(body, sizes), BOUNDARY)
    found = []
    while (part := await stream.next_part()) is not None:
        found.append((part.name, b"".join([piece async for piece in stream.content()])))
    return found


@given(st.lists(CONTENTS, max_size=4), st.lists(st.integers(1, 40), max_size=60))
@example([b"\r\n--edg"], [1] * 60)
@example([], [])
def test_a_form_is_read_alike_in_whatever_pieces_it_comes(contents, sizes):
    if not contents:
        # Nothing but its end: a form without fields begins with no boundary of a field.
        assert asyncio.run(read(b"--edge--\r\n", sizes)) == []
        return
    expected = [(f"f{number}", content) for number, content in enumerate(contents)]
    assert asyncio.run(read(form(contents), sizes)) == expected


@given(CONFUSING, st.lists(st.integers(1, 40), max_size=60))
def test_what_is_no_form_is_refused_and_nothing_else(body, sizes):
    for broken in (body, form([b"x"])[:-4] + body, form([b"x"]).replace(b"edge--", b"edge" + body)):
        try:
            asyncio.run(read(broken, sizes))
        except InvalidRequest:
            continue


@given(st.integers(0, 60))
def test_a_form_that_ends_too_early_is_refused(end):
    body = form([b"content"])
    with pytest.raises(InvalidRequest):
        asyncio.run(read(body[: min(end, len(body) - 3)], []))


async def test_there_are_so_many_fields_and_no_more():
    assert len(await read(form([b""] * MAX_PARTS), [])) == MAX_PARTS
    with pytest.raises(InvalidRequest, match=f"more than {MAX_PARTS} fields"):
        await read(form([b""] * (MAX_PARTS + 1)), [])


async def test_no_more_than_a_piece_is_held():
    async def pieces() -> AsyncIterator[bytes]:
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(100):
            yield b"\r\n--edg" * 10_000
        yield b"\r\n--edge--\r\n"

    stream = FormStream(pieces(), BOUNDARY)
    assert await stream.next_part() is not None
    sizes = [len(piece) async for piece in stream.content()]
    assert sum(sizes) == 7_000_000
    assert max(sizes) <= 70_000 + len(BOUNDARY) + 4
    assert await stream.next_part() is None
