"""Frames that a connection cuts anywhere, and the values around a pushed answer."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract import ContractError, EngineRequest, read_reply
from compute_functions.contract.frames import MAX_MESSAGE, Frame, FrameKind, encoded
from compute_functions.contract.pushes import FrameReader, Push, PushedAnswer

PUSH = Push(url="https://hub.example.org/x", secret="s3cret", silence_s=30.0)
REQUEST = EngineRequest(
    request_id="r", framework="vllm", model="m", path="/v1/x", body=b"{}", timeout_s=1.0
)

FRAMES = st.lists(
    st.builds(
        Frame,
        kind=st.sampled_from(FrameKind),
        stream=st.integers(0, 2**32 - 1),
        offset=st.integers(0, 2**64 - 1),
        payload=st.binary(max_size=200),
    ),
    max_size=8,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_frames_are_whole_again_wherever_they_were_cut(frames: list[Frame], cuts: list[int]):
    sent = b"".join(map(encoded, frames))
    reader = FrameReader()
    read: list[Frame] = []
    while sent:
        for size in cuts:
            read += reader.feed(sent[:size])
            sent = sent[size:]
    assert read == frames


def test_a_frame_larger_than_any_is_refused_before_it_has_come():
    header = struct.pack("!BIQI", FrameKind.DATA, 1, 0, MAX_MESSAGE + 1)
    with pytest.raises(ContractError, match="bytes"):
        FrameReader().feed(header)


def test_what_is_no_frame_is_refused():
    with pytest.raises(ContractError):
        list(FrameReader().feed(struct.pack("!BIQI", 99, 1, 0, 0)))


def through_json(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value))


def test_a_push_crosses_with_its_request():
    request = dataclasses.replace(REQUEST, push=PUSH)
    assert EngineRequest.from_wire(through_json(request.to_wire())) == request
    assert EngineRequest.from_wire(through_json(REQUEST.to_wire())).push is None


def test_a_request_of_a_gateway_that_pushes_nothing_is_understood():
    wire = through_json(REQUEST.to_wire())
    del wire["push"]
    assert EngineRequest.from_wire(wire) == REQUEST


def test_a_secret_is_not_shown():
    assert "s3cret" not in repr(dataclasses.replace(REQUEST, push=PUSH))


@pytest.mark.parametrize(
    "push",
    ["https://x", [], {}, {"url": "x", "secret": 1, "silence_s": 1}, {"url": "x", "secret": "y"}],
)
def test_what_is_no_push_is_refused(push: object):
    with pytest.raises(ContractError):
        EngineRequest.from_wire(REQUEST.to_wire() | {"push": push})


def test_how_a_push_ended_crosses():
    answer = PushedAnswer(length=7, engine_s=0.5, site_s=0.75)
    assert read_reply(through_json(answer.to_wire())) == answer
    with pytest.raises(ContractError):
        read_reply(answer.to_wire() | {"length": "7"})
