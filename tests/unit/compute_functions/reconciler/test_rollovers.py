"""Rollovers in simulated time: with room for one more, no model is ever without an instance."""

from __future__ import annotations

from typing import Any

import pytest

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand
from compute_functions.reconciler import ModelKey, Policy, Submit
from tests.support.simulated_site import SimulatedNode, SimulatedSite

pytestmark = pytest.mark.row("A-19", "L-23", "C-59")


def site(*models: DesiredModel, gpus: int, nodes: int = 1, **policy) -> SimulatedSite:
    return SimulatedSite(
        policy=Policy(**({"last_s": 12.0, "settle_s": 5.0} | policy)),
        nodes={f"n{i}": SimulatedNode(name=f"n{i}", gpus=gpus) for i in range(nodes)},
        load_s={model.model: 8.0 for model in models},
        desired={ModelKey.of(model): model for model in models},
    )


def hot(name: str, **kwargs) -> DesiredModel:
    values: dict[str, Any] = {
        "model": name,
        "framework": "vllm",
        "min": 1,
        "max": 1,
        "gpus": 1,
        "walltime_s": 120.0,
        "walltime_ratio": 0.9,
        "idle_timeout_s": 600.0,
    }
    return DesiredModel(**(values | kwargs))


def run_gapless(place: SimulatedSite, seconds: float, *, agent_dies_every: int = 0) -> None:
    """Run on, and fail in the first second in which a model that once was ready is not."""
    seen: set[ModelKey] = set()
    for count, _ in enumerate(place.run(seconds)):
        for key in place.desired:
            if place.serving(key):
                seen.add(key)
            assert key not in seen or place.serving(key), f"{key} is away at {count} s"
        if agent_dies_every and count % agent_dies_every == 0:
            place.memory = type(place.memory)()
    assert seen == set(place.desired)


@pytest.mark.parametrize("agent_dies_every", [0, 1, 7])
def test_ten_rollovers_with_room_for_one_more_leave_no_second_without_an_instance(
    agent_dies_every,
):
    place = site(hot("m"), gpus=2)
    run_gapless(place, 1250, agent_dies_every=agent_dies_every)
    assert 11 <= place.submitted <= 14


def test_several_models_roll_over_one_after_the_other_in_one_place_of_surge():
    models = [hot(f"m{i}", walltime_s=300.0) for i in range(5)]
    place = site(*models, gpus=6)
    most = 0
    seen: set[ModelKey] = set()
    for _ in place.run(1500):
        most = max(most, len(place.jobs))
        for key in place.desired:
            if place.serving(key):
                seen.add(key)
            assert key not in seen or place.serving(key)
    assert most <= 6
    assert place.submitted >= 5 * 4


def test_several_instances_of_one_model_roll_over_one_after_the_other():
    place = site(hot("m", min=3, max=3, walltime_s=300.0), gpus=4)
    key = ModelKey("m", "vllm")
    for _ in place.run(60):
        pass
    for _ in place.run(1000):
        assert len(place.serving(key)) >= 3
        assert len(place.jobs) <= 4


def test_a_request_longer_than_the_rollover_is_finished():
    place = site(hot("m", walltime_s=600.0), gpus=2)
    key = ModelKey("m", "vllm")
    for _ in place.run(60):
        pass
    (old,) = place.of(key)
    assert old.ends_at is not None
    request_ends = old.ends_at - 30
    old.busy_until.append(request_ends)
    while place.now < request_ends:
        place.tick()
        place.step()
        assert old.instance in place.jobs
        assert place.serving(key)
    assert old.told is not None
    for _ in place.run(5):
        pass
    assert old.instance not in place.jobs


def test_without_room_the_successor_waits_in_the_queue_and_the_gap_is_one_cold_start():
    place = site(hot("m"), gpus=1)
    key = ModelKey("m", "vllm")
    away = 0
    for count, _ in enumerate(place.run(500)):
        if count > 20:
            away += not place.serving(key)
    # Four rollovers: the load, and the seconds in which the old one drains and ends.
    assert 4 * 8 <= away <= 4 * 25


def test_an_idle_instance_on_demand_yields_to_the_successor_of_a_hot_model():
    place = site(
        hot("m"),
        hot("d", min=0, idle_timeout_s=5000.0, walltime_s=6000.0),
        gpus=2,
    )
    on_demand = ModelKey("d", "vllm")
    place.demand = {on_demand: _waits(on_demand)}
    for _ in place.run(60):
        pass
    place.demand = {on_demand: _used(on_demand)}
    assert len(place.serving(on_demand)) == 1
    seen = False
    for _ in place.run(300):
        key = ModelKey("m", "vllm")
        assert place.serving(key)
        seen = seen or not place.serving(on_demand)
    assert seen


def test_a_busy_instance_on_demand_does_not_yield():
    place = site(
        hot("m"),
        hot("d", min=0, idle_timeout_s=5000.0, walltime_s=6000.0),
        gpus=2,
    )
    on_demand = ModelKey("d", "vllm")
    place.demand = {on_demand: _waits(on_demand)}
    for _ in place.run(60):
        pass
    (job,) = place.of(on_demand)
    job.busy_until.append(place.now + 4000)
    for _ in place.run(500):
        assert place.serving(on_demand)


@pytest.mark.row("L-26")
def test_a_model_that_is_not_refreshed_gets_no_successor_and_starts_anew_when_it_has_ended():
    place = site(hot("m", refresh=False), gpus=4)
    for _ in place.run(105):
        pass
    assert place.submitted == 1
    for _ in place.run(30):
        pass
    assert place.submitted == 2


def test_a_walltime_as_short_as_a_cold_start_does_not_make_a_crowd():
    place = site(hot("m", walltime_s=20.0), gpus=8)
    for decision in place.run(300):
        assert sum(isinstance(action, Submit) for action in decision.actions) <= 1
        assert len([job for job in place.jobs.values() if job.gone_at is None]) <= 3


def _waits(key: ModelKey) -> ModelDemand:
    return ModelDemand(model=key.model, framework=key.framework, waiting=1, used_s=0.0)


def _used(key: ModelKey) -> ModelDemand:
    return ModelDemand(model=key.model, framework=key.framework, used_s=100.0)
