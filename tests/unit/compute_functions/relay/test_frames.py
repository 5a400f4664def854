"""Frames and their payloads: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract.errors import ContractError
from compute_functions.contract.frames import HEADER_BYTES, Frame, FrameKind, decoded, encoded
from compute_functions.contract.relay import (
    Accept,
    AnswerHead,
    Hello,
    RelayRequest,
    StreamState,
)

FRAMES = st.builds(
    Frame,
    kind=st.sampled_from(FrameKind),
    stream=st.integers(0, 2**32 - 1),
    offset=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=200),
)
COUNTS = st.integers(0, 10**14)
NUMBERED = st.dictionaries(st.integers(0, 2**32 - 1), COUNTS, max_size=5)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HEADERS = st.dictionaries(
    st.text("abcxyz-", min_size=1), st.text(st.characters(codec="ascii", min_codepoint=32))
).filter(lambda headers: all(value.isprintable() for value in headers.values()))


@given(st.lists(FRAMES, max_size=8))
def test_frames_come_out_as_they_went_in(sent: list[Frame]) -> None:
    assert list(decoded(b"".join(encoded(frame) for frame in sent))) == sent


@given(st.lists(FRAMES, min_size=1, max_size=4), st.data())
def test_a_message_that_was_cut_is_an_error_or_shorter(sent: list[Frame], data) -> None:
    message = b"".join(encoded(frame) for frame in sent)
    cut = message[: data.draw(st.integers(0, len(message) - 1))]

    read = []
    try:
        for frame in decoded(cut):
            read.append(frame)  # noqa: PERF402 # those before the error count
    except ContractError:
        assert sum(HEADER_BYTES + len(frame.payload) for frame in read) < len(cut)
    assert read == sent[: len(read)]
    assert len(read) < len(sent)


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_contract_error(message: bytes) -> None:
    try:
        frames = list(decoded(message))
    except ContractError:
        return
    assert b"".join(encoded(frame) for frame in frames) == message


@given(
    st.builds(
        Hello,
        instance=NAMES,
        link=NAMES,
        paths=st.lists(NAMES, max_size=3).map(tuple),
        hub=NAMES,
        bodies=NUMBERED,
    )
    | st.builds(
        Accept,
        hub=NAMES,
        session=NAMES,
        session_s=st.floats(0, 1e9),
        resumed=st.booleans(),
        streams=st.dictionaries(
            st.integers(0, 2**32 - 1),
            st.builds(StreamState, head=st.booleans(), received=COUNTS, credit=COUNTS),
            max_size=4,
        ),
    )
    | st.builds(
        RelayRequest,
        request_id=NAMES,
        path=NAMES,
        body_bytes=COUNTS,
        timeout_s=st.floats(0, 1e9),
        silence_s=st.floats(0, 1e9),
        headers=HEADERS,
    )
    | st.builds(AnswerHead, status=st.integers(100, 599), headers=HEADERS)
)
def test_payloads_come_out_as_they_went_in(value) -> None:
    assert type(value).from_payload(value.to_payload()) == value


@given(st.binary(max_size=100))
@pytest.mark.parametrize("kind", [Hello, Accept, RelayRequest, AnswerHead])
def test_any_payload_is_a_value_or_a_contract_error(kind, payload: bytes) -> None:
    try:
        kind.from_payload(payload)
    except ContractError:
        return
    pytest.fail("random bytes are no payload")
