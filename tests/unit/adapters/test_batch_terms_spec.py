"""What a model's file may say of its batches."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_spec import ModelSpec
from resource_server.domain.upkeep import Upkeep

LIFECYCLE = {"gpus": 4, "walltime": "12:00:00", "min": 2, "max": 6, "idle_timeout": 900}
PLACES = [{"cluster": "a", "framework": "vllm"}]
USUAL: dict[str, Any] = {
    "id": "m",
    "flags": ["B"],
    "deployments": PLACES,
    "lifecycle": LIFECYCLE,
}


def read(batch: Any, **fields: Any) -> list[Upkeep | None]:
    spec = ModelSpec.model_validate(USUAL | {"batch": batch} | fields)
    found = spec.to_domain(created=0)
    # What is in the database reads as it was written.
    assert ModelSpec.model_validate(spec.to_row()).to_domain(created=0) == found
    return [place.batch_upkeep for place in found.deployments]


def mistake(batch: Any, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(batch, **fields)
    (problem,) = caught.value.errors()
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"].removeprefix("Value error, ")


def test_batches_share_the_callers_instances_unless_the_file_says_otherwise():
    assert read({}) == [None]
    assert read({"placement": "shared", "share": 0.5}) == [None]


def test_those_of_their_own_are_kept_for_as_long_as_there_are_batches():
    (found,) = read({"placement": "own"})
    assert found == Upkeep(
        gpus=4,
        walltime_s=12 * 3600,
        min=0,
        max=1,
        idle_timeout_s=60,
        refresh=False,
        autoscale=False,
    )


def test_how_they_are_kept_can_be_said():
    said = {"placement": "own", "max": 3, "walltime": "02:00:00", "idle_timeout": 0}
    (found,) = read(said, lifecycle=LIFECYCLE | {"autoscale": False})
    assert found is not None
    assert (found.max, found.walltime_s, found.idle_timeout_s) == (3, 7200, 0)
    # Several are for several batches at once.
    assert found.autoscale


def test_there_are_none_where_nobody_starts_instances():
    places = [PLACES[0] | {"lifecycle": LIFECYCLE}, {"cluster": "b", "framework": "vllm"}]
    first, second = read({"placement": "own"}, lifecycle=None, deployments=places)
    assert first is not None
    assert second is None


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        ({"placement": "elsewhere"}, "batch.placement: Input should be 'shared' or 'own'"),
        ({"max": 2}, "batch.max: is for instances of their own: placement: own"),
        ({"walltime": 600}, "batch.walltime: is for instances of their own: placement: own"),
        ({"idle_timeout": 6}, "batch.idle_timeout: is for instances of their own: placement: own"),
        ({"placement": "own", "max": 0}, "batch.max: Input should be greater than or equal to 1"),
        ({"placement": "own", "walltime": 5}, "batch.walltime: Input should be greater than or"),
        ({"placement": "own", "min": 1}, "batch.min: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_with_its_field(batch, problem):
    assert mistake(batch).startswith(problem)


def test_what_would_never_run_is_refused():
    said = mistake({"placement": "own"}, flags=[])
    assert said == "batch: placement: own, and the model has no flag B: it takes no batches"
    said = mistake({"placement": "own"}, lifecycle=None)
    assert said == "batch: placement: own needs a lifecycle: nobody starts instances of it"
