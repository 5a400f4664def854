"""The tiny models in the repository are what their scripts make.

By default the first steps of each making are taken again, and the weights after them compared with
the record. With HOTNODE_MAKE_MODELS=1 every model is made again to its end, which takes ten minutes
of one core.

On the type of CPU on which a model was made, the script must give every byte again. On another type
sums may be rounded otherwise, and a training run then ends in other weights: there all other files
must be equal, and both models must give every answer of the question set.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from lab.engine import Model
from tests.support.engine import engines_dir, require_engine

TINY_MODELS = Path(__file__).parents[2] / "endpoint_configs" / "tiny_models"
WEIGHTS = "model.safetensors"
#: What decides what each model is, by the model's folder.
PACKAGES = {
    "tiny-chat": ["tiny_chat_maker"],
    "tiny-classifier": ["tiny_bert_maker"],
    "tiny-reranker": ["tiny_bert_maker"],
    "tiny-vision": ["tiny_vision_maker", "tiny_chat_maker", "tiny-chat"],
    "tiny-whisper": ["tiny_whisper_maker"],
}
#: How many questions each model answers, and its size on disk (MB), at most.
ASKED = {
    "tiny-chat": 150,
    "tiny-classifier": 60,
    "tiny-reranker": 60,
    "tiny-vision": 100,
    "tiny-whisper": 24,
}
SIZES_MB = {"tiny-chat": 3, "tiny-vision": 4, "tiny-whisper": 4}
OTHER_SIZE_MB = 2
#: Eight times what the longest takes on a quiet core.
TIMEOUT_S = 2400

every_model = pytest.mark.parametrize("name", sorted(PACKAGES))


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the makers' module that needs the standard library alone."""
    monkeypatch.syspath_prepend(str(TINY_MODELS))
    from tiny_making import record as module

    return module


def maker(name: str, folder: Path, *arguments: str) -> str:
    """Run a script in vLLM's environment and return what it says."""
    python = Model.named("tiny-chat").environment(engines_dir()).python
    script = TINY_MODELS / f"make_{name.replace('-', '_')}.py"
    made = subprocess.run(  # noqa: S603 # our own script
        [python, script, folder, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return made.stdout


def test_every_model_is_looked_at() -> None:
    folders = {path.parent.name for path in TINY_MODELS.glob("*/made.json")}

    assert folders == PACKAGES.keys()


@every_model
def test_the_record_is_of_these_files(record: ModuleType, name: str) -> None:
    made = record.Record.read(TINY_MODELS / name)

    assert record.hashes(TINY_MODELS / name) == made.files
    assert made.right == made.asked >= ASKED[name]


@every_model
def test_the_record_is_of_the_present_script(record: ModuleType, name: str) -> None:
    assert record.Record.read(TINY_MODELS / name).sources == record.sources(PACKAGES[name]), (
        f"the script has changed: make the model again with make_{name.replace('-', '_')}.py"
    )


@every_model
def test_a_model_is_small(name: str) -> None:
    size = sum(path.stat().st_size for path in (TINY_MODELS / name).iterdir())

    assert size < SIZES_MB.get(name, OTHER_SIZE_MB) * 1_000_000


@every_model
@pytest.mark.timeout(TIMEOUT_S)
def test_the_script_begins_as_it_did(record: ModuleType, name: str, tmp_path: Path) -> None:
    require_engine()
    made = record.Record.read(TINY_MODELS / name)
    if record.cpu() != made.cpu:
        pytest.skip(f"made on {made.cpu}: only there are the weights the same on the way")

    said = maker(name, tmp_path, "--rehearse", "--steps", str(made.steps))

    assert said.split() == [made.rehearsed]


@every_model
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.skipif(
    os.environ.get("HOTNODE_MAKE_MODELS") != "1", reason="HOTNODE_MAKE_MODELS is not 1"
)
def test_the_script_makes_the_model_again(record: ModuleType, name: str, tmp_path: Path) -> None:
    require_engine()
    committed = record.Record.read(TINY_MODELS / name)

    maker(name, tmp_path / "again", "--steps", str(committed.steps))

    again = record.Record.read(tmp_path / "again")
    if again.cpu == committed.cpu:
        assert again.files == committed.files
    else:
        assert {**again.files, WEIGHTS: ""} == {**committed.files, WEIGHTS: ""}
        assert again.right == again.asked == committed.asked
        maker(name, TINY_MODELS / name, "--check")
