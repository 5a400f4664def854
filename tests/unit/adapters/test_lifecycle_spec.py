"""What a model's file may say of how its instances are kept."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_spec import ModelSpec
from resource_server.domain.upkeep import Upkeep

PLACES = [{"cluster": "a", "framework": "vllm"}, {"cluster": "b", "framework": "vllm"}]


def read(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"id": "m", "deployments": PLACES} | fields)


def upkeeps(**fields: Any) -> list[Upkeep | None]:
    spec = read(**fields)
    found = spec.to_domain(created=0)
    # What is in the database reads as it was written.
    assert ModelSpec.model_validate(spec.to_row()).to_domain(created=0) == found
    return [place.upkeep for place in found.deployments]


def mistake(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    (problem,) = caught.value.errors()
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"].removeprefix("Value error, ")


def test_a_model_without_the_block_is_kept_by_nobody():
    assert upkeeps() == [None, None]


@pytest.mark.row("L-20", "L-22", "L-23", "L-24", "L-25")
def test_what_is_left_out_is_what_other_services_have():
    usual = Upkeep(
        gpus=4,
        walltime_s=3600,
        walltime_ratio=0.9,
        min=0,
        max=1,
        idle_timeout_s=600,
        priority=0,
        refresh=True,
        autoscale=False,
    )
    assert upkeeps(lifecycle={"gpus": 4}) == [usual, usual]


@pytest.mark.parametrize(
    ("walltime", "seconds"), [(7200, 7200), ("12:30:00", 45_000), ("00:01:00", 60)]
)
def test_a_walltime_is_seconds_or_a_clock(walltime, seconds):
    (first, _) = upkeeps(lifecycle={"gpus": 1, "walltime": walltime})
    assert first is not None
    assert first.walltime_s == seconds


def test_one_place_may_differ_and_another_stand_alone():
    there = PLACES[1] | {"lifecycle": {"gpus": 8, "min": 2}}
    here, other = upkeeps(lifecycle={"gpus": 4, "priority": 7}, deployments=[PLACES[0], there])
    assert here == Upkeep(gpus=4, walltime_s=3600, priority=7)
    assert other == Upkeep(gpus=8, walltime_s=3600, priority=7, min=2, max=2)
    assert upkeeps(deployments=[PLACES[0], there]) == [
        None,
        Upkeep(gpus=8, walltime_s=3600, min=2, max=2),
    ]


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ({}, "deployments: lifecycle names no gpus"),
        ({"gpus": -1}, "lifecycle.gpus: Input should be greater than or equal to 0"),
        ({"gpus": 1, "walltime": "1 h"}, 'lifecycle.walltime: must be seconds, or as "12:30:00"'),
        ({"gpus": 1, "walltime": 5}, "lifecycle.walltime: Input should be greater than or equal"),
        ({"gpus": 1, "walltime_ratio": 1.5}, "lifecycle.walltime_ratio: Input should be less"),
        ({"gpus": 1, "min": 3, "max": 2}, "lifecycle.max: is less than min"),
        ({"gpus": 1, "hot": True}, "lifecycle.hot: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_with_its_field(block, problem):
    assert mistake(lifecycle=block).startswith(problem)


def test_a_model_may_ask_for_no_gpu():
    assert upkeeps(lifecycle={"gpus": 0}) == [Upkeep(gpus=0, walltime_s=3600)] * 2
    there = PLACES[1] | {"lifecycle": {"gpus": 0}}
    assert upkeeps(lifecycle={"gpus": 1}, deployments=[PLACES[0], there]) == [
        Upkeep(gpus=1, walltime_s=3600),
        Upkeep(gpus=0, walltime_s=3600),
    ]


def test_what_two_blocks_say_must_fit_together():
    there = PLACES[1] | {"lifecycle": {"max": 1}}
    said = mistake(lifecycle={"gpus": 1, "min": 2}, deployments=[PLACES[0], there])
    assert said == "deployments: lifecycle: min is more than max at b"


def test_a_place_that_is_listed_twice_is_a_mistake_whatever_it_says():
    twice = [PLACES[0], PLACES[0] | {"lifecycle": {"gpus": 1}}]
    assert mistake(deployments=twice) == "deployments: a deployment is listed twice"
