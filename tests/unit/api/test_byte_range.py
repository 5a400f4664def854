"""The header `Range`, as RFC 9110 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resource_server.api.byte_range import read_range
from resource_server.api.refusals import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=9-", 9, 10),
        ("bytes=5-500", 5, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-500", 0, 10),
        (" bytes=1-2 ", 1, 3),
    ],
)
def test_one_range_is_read(header, begin, end):
    found = read_range(header, 10)
    assert found is not None
    assert (found.begin, found.end, found.length) == (begin, end, end - begin)
    assert found.header == f"bytes {begin}-{end - 1}/10"


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-"],
)
def test_what_is_no_range_of_bytes_is_passed_over(header):
    assert read_range(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_behind_the_end_cannot_be_had(header, size):
    with pytest.raises(RangeNotSatisfiable, match=f"{size} bytes"):
        read_range(header, size)


@given(st.integers(0, 99), st.integers(0, 200), st.integers(1, 100))
def test_a_range_lies_within_the_file(first, more, size):
    try:
        found = read_range(f"bytes={first}-{first + more}", size)
    except RangeNotSatisfiable:
        assert first >= size
        return
    assert found is not None
    assert 0 <= found.begin < found.end <= size
