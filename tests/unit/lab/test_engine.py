"""What the lab knows of engines before it starts one."""

from __future__ import annotations

import pytest

from compute_functions import engine_config
from lab import engine, processes
from lab.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_launcher_may_take_longer_to_end_than_its_engine(name: str) -> None:
    config = engine_config.load(engine.CONFIGS / "engines" / f"{name}.yaml")

    assert engine.grace_s(name) > config.drain_s + config.stop_grace_s


def test_the_usual_patience_would_cut_a_launcher_short() -> None:
    assert engine.grace_s("vllm-cpu") > processes.GRACE_S
