"""What gateway and agent say of desired models: read as written, refused when not right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from compute_functions.contract import (
    FOR_BATCHES,
    AgentReport,
    ContractError,
    Demand,
    DesiredModel,
    DesiredState,
    Instance,
    InstanceState,
    ModelDemand,
    ModelOutlook,
    SiteStatus,
    Stage,
    Wishes,
    site_link,
)
from compute_functions.contract.site_link import Accepted, MessageKind

MODEL = DesiredModel(
    model="vendor/model",
    framework="vllm",
    min=1,
    max=2,
    gpus=4,
    walltime_s=3600.0,
    walltime_ratio=0.9,
    idle_timeout_s=600.0,
)
DESIRED = DesiredState(generation=1, revision=7, models=(MODEL,))
DEMAND = Demand(
    hub="h", models=(ModelDemand(model="vendor/model", framework="vllm", waiting=2, used_s=0.5),)
)
INSTANCE = Instance(
    model="vendor/model",
    framework="vllm",
    state=InstanceState.STARTING,
    job_id="1",
    host="node",
    started_at=1.0,
    name="vendor-model-0a1b2c3d",
    stage=Stage.WEIGHTS,
    gpus=4,
    ready_at=5.0,
    ahead=3,
    gpu_percent=41.5,
    purpose=FOR_BATCHES,
)
#: What those that were not updated yet do not tell.
LATER = {"gpu_percent", "purpose"}
STATUS = SiteStatus(
    observed_at=2.0,
    instances=(INSTANCE,),
    outlooks=(ModelOutlook(model="m", framework="vllm", queue_s=1.0),),
    agent=AgentReport(host="login", pid=1, fence=2, started_at=1.0, version="0"),
)


def over_the_wire(value: dict[str, Any]) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "value",
    [DESIRED, DEMAND, STATUS, Wishes(), Wishes(desired=DESIRED, demand=DEMAND)],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    assert type(value).from_wire(over_the_wire(value.to_wire())) == value


@pytest.mark.parametrize("value", [MODEL, *DEMAND.models, *STATUS.outlooks, STATUS.agent, INSTANCE])
def test_a_value_lacks_nothing_and_mistakes_nothing(value: Any) -> None:
    wire = value.to_wire()
    for field in wire:
        lacking = {k: v for k, v in wire.items() if k != field}
        for damaged in ({**wire, field: object()}, *((lacking,) if field not in LATER else ())):
            with pytest.raises(ContractError):
                type(value).from_wire(damaged)


@pytest.mark.row("L-14")
def test_an_older_site_tells_less_of_an_instance() -> None:
    wire = INSTANCE.to_wire()
    for field in LATER:
        del wire[field]
    assert Instance.from_wire(wire) == replace(INSTANCE, gpu_percent=None, purpose="")


@pytest.mark.parametrize(
    "wrong",
    [
        {"min": 3},
        {"min": -1},
        {"gpus": 10**9},
        {"walltime_ratio": 0},
        {"walltime_ratio": 1.01},
        {"walltime_s": -1},
        {"refresh": 1},
    ],
)
def test_a_desired_model_is_within_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        DesiredModel.from_wire({**MODEL.to_wire(), **wrong})


def test_a_model_is_desired_once() -> None:
    wire = DESIRED.to_wire()
    with pytest.raises(ContractError, match="twice"):
        DesiredState.from_wire({**wire, "models": wire["models"] * 2})


def test_a_model_is_desired_once_more_for_another_purpose() -> None:
    both = replace(DESIRED, models=(MODEL, replace(MODEL, min=0, purpose=FOR_BATCHES)))
    assert DesiredState.from_wire(over_the_wire(both.to_wire())) == both
    wire = both.to_wire()
    # One that was not updated yet reads what is for callers, and nothing twice.
    assert DesiredState.from_wire({**wire, "with_purpose": []}) == DESIRED
    with pytest.raises(ContractError, match="twice"):
        DesiredState.from_wire({**wire, "with_purpose": wire["with_purpose"] * 2})


def test_desired_states_are_in_order() -> None:
    later = DesiredState(generation=2, revision=1)

    assert later.version > DESIRED.version


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (MessageKind.ACCEPT, Accepted(hub="h", session="s", session_s=60.0)),
        (MessageKind.DESIRED, DESIRED),
        (MessageKind.DEMAND, DEMAND),
        (MessageKind.OBSERVED, STATUS),
    ],
)
def test_a_message_is_read_as_it_was_written(kind: MessageKind, said: Any) -> None:
    assert site_link.read(site_link.message(kind, said)) == (kind, said)


def test_a_message_of_a_kind_to_come_is_passed_over() -> None:
    assert site_link.read('{"kind": "weather", "body": 1}') is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "desired"}', "[" * 100_000])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        site_link.read(text)
