"""What is learnt: each wait and each load once, and only where it was watched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compute_functions.contract import InstanceState
from compute_functions.drivers import JobState
from compute_functions.orders import Order
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Member, Registered
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent.history import History
from compute_functions.site_agent.learning import Learning

KEY = ModelKey("vendor/m", "vllm")
ORDER = Order(
    instance="m-1",
    model="vendor/m",
    framework="vllm",
    engine_file="/e.yaml",
    model_file="/m.yaml",
    gpus=2,
    walltime_s=600.0,
    submitted_at=100.0,
    generation=1,
    fence=3,
)
PENDING = Member(
    instance="m-1",
    model="vendor/m",
    framework="vllm",
    state=JobState.PENDING,
    fence=3,
    submitted_at=100.0,
)
RUNNING = replace(PENDING, state=JobState.RUNNING, started_at=130.0)
READY = replace(RUNNING, registered=Registered(state=InstanceState.READY, ready_at=150.0))


@pytest.fixture
def learning(tmp_path: Path) -> Learning:
    return Learning(History(tmp_path / "history.jsonl"))


def partition(hot: bool) -> str:
    return "hot" if hot else "gpu"


def see(learning: Learning, *members: Member) -> Estimate:
    for member in members:
        learning.note([member], {"m-1": ORDER}, partition)
    return learning.estimate(KEY, gpus=2, partition="gpu")


def test_a_wait_and_a_load_are_learnt(learning: Learning) -> None:
    assert see(learning, PENDING, RUNNING, READY) == Estimate(queue_s=30.0, load_s=20.0)


def test_each_is_learnt_once(learning: Learning, tmp_path: Path) -> None:
    see(learning, PENDING, RUNNING, RUNNING, READY, READY, READY)
    assert len((tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_of_a_job_that_ran_already_no_wait_is_learnt(learning: Learning) -> None:
    assert see(learning, RUNNING, READY) == Estimate(load_s=20.0)


def test_a_job_whose_order_is_lost_teaches_nothing(learning: Learning) -> None:
    for member in (PENDING, RUNNING, READY):
        learning.note([member], {}, partition)
    assert learning.estimate(KEY, gpus=2, partition="gpu") == Estimate()
