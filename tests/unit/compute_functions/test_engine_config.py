"""Engine and model files: what is read, and how a mistake is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from compute_functions import engine_config, model_config
from compute_functions.engine_config import EngineConfig
from compute_functions.errors import ConfigurationError, FieldError
from tests.support.launches import ENGINE, write_engine, write_model

CONFIGS = Path(__file__).parents[3] / "endpoint_configs"


def test_an_engine_file_is_read_whole(tmp_path: Path) -> None:
    read = engine_config.load(write_engine(tmp_path))

    assert read.name == "small"
    for name in EngineConfig.__slots__:
        value = getattr(read, name)
        expected = ENGINE.get(name, "small")
        if name == "probe":
            value = {"path": value.path, "body": value.body}
        assert value == (tuple(expected) if isinstance(expected, list) else expected), name


@pytest.mark.parametrize("file", sorted((CONFIGS / "engines").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_engines_of_this_repository_are_valid(file: Path) -> None:
    read = engine_config.load(file)

    assert read.start_deadline_s > read.stop_grace_s > read.drain_s


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"framework": None}, "framework", "must be a text"),
        ({"framework": ["vllm"]}, "framework", "must be a text"),
        ({"commandd": []}, "commandd", "unknown; known are api_key_variable"),
        ({"command": "vllm serve"}, "command", "must be a list"),
        ({"command": ["e", "{model_path}"]}, "command", "lacks {model}, {socket}"),
        ({"command": ["e", "{port}"]}, "command", "unknown {port} in '{port}'; known are"),
        ({"command": ["e", "{"]}, "command", "write {{ for a brace"),
        ({"environment": {"A": "{x}"}}, "environment", "unknown {x}"),
        ({"environment": {"A": [1]}}, "environment.A", "must be a text"),
        ({"environment": "A=1"}, "environment", "must be a mapping"),
        ({"paths": ["v1"]}, "paths", "'v1' is not a plain path"),
        ({"paths": [None]}, "paths[0]", "must be a text"),
        ({"health_path": "/health?x"}, "health_path", "is not a plain path"),
        ({"probe": {"path": "/p", "bdy": {}}}, "probe.bdy", "unknown"),
        ({"probe": {"path": "/p"}}, "probe.body", "is missing"),
        ({"watch_every_s": 16}, "watch_every_s", "must be at most 15"),
        ({"start_deadline_s": 0}, "start_deadline_s", "must be a number of seconds above 0"),
        ({"start_deadline_s": "soon"}, "start_deadline_s", "must be a number of seconds above 0"),
        ({"stop_grace_s": float("inf")}, "stop_grace_s", "must be a number of seconds above 0"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(
    tmp_path: Path, changes: dict[str, object], field: str, problem: str
) -> None:
    file = write_engine(tmp_path, **changes)
    top = re.split(r"[.\[]", field, maxsplit=1)[0]
    lines = file.read_text().splitlines()
    first = next(n for n, line in enumerate(lines, 1) if line.startswith(f"{top}:"))

    with pytest.raises(FieldError) as caught:
        engine_config.load(file)

    assert (caught.value.file, caught.value.field) == (file, field)
    assert first <= caught.value.line <= first + 2
    assert problem in caught.value.problem
    assert f"small.yaml, line {caught.value.line}: {field}: " in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(yaml.safe_dump({name: ENGINE[name] for name in ENGINE if name != "paths"}))

    with pytest.raises(FieldError, match="paths: is missing"):
        engine_config.load(file)


def test_a_field_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    file = write_engine(tmp_path)
    file.write_text(file.read_text() + "framework: other\n")

    with pytest.raises(FieldError, match="framework: stands here twice"):
        engine_config.load(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("- a\n", "does not hold names with values"),
        ("", "does not hold names with values"),
    ],
)
def test_a_file_of_another_kind_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=message):
        engine_config.load(file)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        engine_config.load(tmp_path / "none.yaml")


def test_a_model_s_folder_counts_from_its_file(tmp_path: Path) -> None:
    read = model_config.load(write_model(tmp_path, arguments=["--max-len", 8]))

    assert read.path == tmp_path / "weights"
    assert read.arguments == ("--max-len", "8")
    assert (read.id, read.engine) == ("vendor/model", "small")


def test_a_model_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"path: there is no folder .*/nowhere"):
        model_config.load(write_model(tmp_path, path="nowhere"))


def test_the_tiny_model_s_file_is_for_the_engine_that_it_names() -> None:
    read = model_config.load(CONFIGS / "models" / "tiny-chat.yaml")

    assert read.id == "hotnode/tiny-chat"
    assert (CONFIGS / "engines" / f"{read.engine}.yaml").exists()
