from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resource_server.domain import errors
from resource_server.domain.event_stream import EventSplitter, data_of

EVENTS = st.lists(
    st.builds(
        lambda lines, end: b"".join(line + end for line in lines) + end,
        st.lists(
            st.binary(min_size=1, max_size=20).map(lambda b: b.translate(None, b"\r\n") or b"x"),
            min_size=1,
            max_size=3,
        ),
        st.sampled_from([b"\n", b"\r\n"]),
    ),
    max_size=6,
)


def cut(body: bytes, at: list[int]) -> list[bytes]:
    """Return the body in parts, cut at these places."""
    places = sorted(place % (len(body) + 1) for place in at)
    edges = [0, *places, len(body)]
    return [body[a:b] for a, b in pairwise(edges) if a < b]


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(min_value=0), max_size=12), st.binary(max_size=5))
def test_any_cutting_gives_the_same_events(events, at, rest):
    rest = rest.translate(None, b"\r\n")
    splitter = EventSplitter()
    seen = [event for part in cut(b"".join(events) + rest, at) for event in splitter.feed(part)]
    assert seen == events
    assert splitter.rest == rest


@settings(deadline=None)
@given(
    st.binary(max_size=60).map(lambda b: b.replace(b"a", b"\n").replace(b"b", b"\r\n")),
    st.lists(st.integers(min_value=0), max_size=12),
)
def test_no_byte_is_lost_or_changed_whatever_comes(body, at):
    whole, pieces = EventSplitter(), EventSplitter()
    expected = whole.feed(body) if body else []
    seen = [event for part in cut(body, at) for event in pieces.feed(part)]
    assert seen == expected
    assert b"".join(seen) + pieces.rest == body


def test_byte_by_byte():
    body = b"data: 1\r\n\r\ndata: 2\n\ndata: 3\n\r\n"
    splitter = EventSplitter()
    seen = [event for byte in body for event in splitter.feed(bytes([byte]))]
    assert seen == [b"data: 1\r\n\r\n", b"data: 2\n\n", b"data: 3\n\r\n"]


def test_an_event_of_megabytes_comes_whole():
    event = b"data: " + b"x" * 3_000_000 + b"\n\n"
    splitter = EventSplitter()
    parts = [event[at : at + 65_536] for at in range(0, len(event), 65_536)]
    assert [seen for part in parts for seen in splitter.feed(part)] == [event]


@pytest.mark.parametrize("parts", [[b"x" * 11], [b"x" * 6, b"x" * 6], [b"x\n\n" + b"y" * 11]])
def test_what_has_no_end_is_no_event(parts):
    splitter = EventSplitter(most_bytes=10)
    *begin, last = parts
    for part in begin:
        splitter.feed(part)
    with pytest.raises(errors.AnswerTooLarge):
        splitter.feed(last)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b'data: {"a":1}\n\n', b'{"a":1}'),
        (b"event: x\r\ndata:1\r\ndata: 2\r\n\r\n", b"1\n2"),
        (b": comment\n\n", b""),
    ],
)
def test_the_data_of_an_event(event, data):
    assert data_of(event) == data
