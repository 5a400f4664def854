"""The wire: what one side writes the other reads, and what it does not know it refuses."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions import contract
from compute_functions.contract import (
    ContractError,
    EngineAnswer,
    EngineRequest,
    FailureCode,
    Instance,
    InstanceState,
    SiteFailure,
    SiteStatus,
    UnsupportedProtocol,
    pack,
    packed_size,
    read_reply,
    unpack,
)

REQUEST = EngineRequest(
    request_id="r",
    framework="vllm",
    model="vendor/model",
    path="/v1/completions",
    body=b"{}",
    timeout_s=1.5,
    headers={"accept": "text/plain"},
)
INSTANCE = Instance(
    model="vendor/model",
    framework="vllm",
    state=InstanceState.READY,
    job_id="1",
    host="node",
    started_at=1.0,
    detail="",
)
REPLIES = (
    EngineAnswer(status=503, body=b"\xff", headers={"retry-after": "1"}, engine_s=1.0, site_s=2.0),
    SiteFailure(code=FailureCode.ENGINE_TIMEOUT, message="too late"),
    SiteStatus(observed_at=2.0, instances=(INSTANCE,)),
    SiteStatus(observed_at=2.0),
)


def over_the_wire(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value))


@given(st.binary(max_size=4096))
def test_every_body_survives_packing(body: bytes) -> None:
    packed = over_the_wire(pack(body))

    assert unpack(packed) == body
    assert packed_size(packed) >= len(next(iter(packed.values())))


def test_a_packed_body_is_no_larger_on_the_wire_than_its_size_says() -> None:
    for body in (b"plain", b'"\\\n' * 300, "größe".encode() * 400):
        submission = json.dumps(json.dumps({"body": pack(body)}))
        empty = json.dumps(json.dumps({"body": {"text": ""}}))

        assert len(submission) - len(empty) <= packed_size(pack(body))


@pytest.mark.parametrize(
    "packed",
    [
        None,
        {},
        {"text": 1},
        {"text": "\ud800"},
        {"zlib": "\ud800"},
        {"zlib": "no base64!"},
        {"zlib": base64.b64encode(b"no zlib").decode()},
        {"zlib": base64.b64encode(zlib.compress(b"x" * 100)[:-5]).decode()},
    ],
)
def test_a_damaged_body_is_refused(packed: object) -> None:
    with pytest.raises(ContractError):
        unpack(packed)


def test_a_small_body_that_would_become_huge_is_refused() -> None:
    bomb = base64.b64encode(zlib.compress(b"\0" * (contract.MAX_UNPACKED + 1))).decode()

    with pytest.raises(ContractError, match="unpacks to more"):
        unpack({"zlib": bomb})


def test_a_request_is_read_as_it_was_written() -> None:
    assert EngineRequest.from_wire(over_the_wire(REQUEST.to_wire())) == REQUEST


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_is_read_as_it_was_written(reply: Any) -> None:
    assert read_reply(over_the_wire(reply.to_wire())) == reply


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_lacks_nothing_and_mistakes_nothing(reply: Any) -> None:
    wire = reply.to_wire()
    for field in wire.keys() - {"v"}:
        for damaged in ({**wire, field: object()}, {k: v for k, v in wire.items() if k != field}):
            with pytest.raises(ContractError):
                read_reply(damaged)


#: What sites of an older version do not say.
_LATER: dict[str, Any] = {"gpu_percent": None, "purpose": ""}


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(INSTANCE) if field.name not in _LATER]
)
def test_an_instance_lacks_nothing(field: str) -> None:
    wire = INSTANCE.to_wire()
    del wire[field]

    with pytest.raises(ContractError):
        Instance.from_wire(wire)


@pytest.mark.parametrize("field", sorted(_LATER))
def test_an_instance_of_an_older_site_lacks_what_came_later(field: str) -> None:
    wire = INSTANCE.to_wire()
    del wire[field]

    assert Instance.from_wire(wire) == dataclasses.replace(INSTANCE, **{field: _LATER[field]})


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        (REPLIES[0], "status"),
        (REPLIES[0], "engine_s"),
        (REPLIES[0], "site_s"),
        (REPLIES[2], "observed_at"),
    ],
)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400, True, "1", None])
def test_a_number_is_finite_and_within_reason(reply: Any, field: str, number: object) -> None:
    with pytest.raises(ContractError):
        read_reply(reply.to_wire() | {field: number})


def test_a_status_is_whole() -> None:
    with pytest.raises(ContractError, match="status"):
        read_reply(REPLIES[0].to_wire() | {"status": 200.0})


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e300])
def test_an_instance_starts_at_a_time(number: float) -> None:
    with pytest.raises(ContractError):
        Instance.from_wire(INSTANCE.to_wire() | {"started_at": number})


@pytest.mark.parametrize(
    ("reply", "damage"),
    [
        (REPLIES[0], {"headers": {"\ud800": ""}}),
        (REPLIES[0], {"headers": {"x": "\ud800"}}),
        (REPLIES[1], {"message": "\ud800"}),
    ],
)
def test_half_a_character_is_refused(reply: Any, damage: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="half a character"):
        read_reply(reply.to_wire() | damage)


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["x" * 10_000, nested(100_000), ["y" * 1000] * 100])
def test_what_is_not_understood_is_quoted_in_part(value: Any) -> None:
    damaged = (
        {"v": value},
        {"v": 1, "kind": value},
        REPLIES[1].to_wire() | {"code": value},
    )
    for wire in damaged:
        with pytest.raises(ContractError) as caught:
            read_reply(wire)
        assert len(str(caught.value)) < 300
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_version_has_an_error_of_its_own(version: object) -> None:
    with pytest.raises(UnsupportedProtocol):
        EngineRequest.from_wire(REQUEST.to_wire() | {"v": version})


@pytest.mark.parametrize("wire", [None, [], "x", 1])
def test_what_is_no_object_is_refused(wire: object) -> None:
    for read in (EngineRequest.from_wire, read_reply, Instance.from_wire):
        with pytest.raises(ContractError):
            read(wire)
