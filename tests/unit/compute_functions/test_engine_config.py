"""Engine and model files: what is read, and how a mistake is named."""

from __future__ import annotations

import dataclasses
import email
import io
import json
import re
import wave
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions import engine_command, engine_config, model_config
from compute_functions.engine_command import Places
from compute_functions.engine_config import EngineConfig
from compute_functions.errors import ConfigurationError, FieldError
from compute_functions.model_config import ModelConfig
from tests.support.launches import ENGINE, write_engine, write_model

CONFIGS = Path(__file__).parents[3] / "endpoint_configs"


def test_an_engine_file_is_read_whole(tmp_path: Path) -> None:
    read = engine_config.load(write_engine(tmp_path))

    assert read.name == "small"
    for name in EngineConfig.__slots__:
        value = getattr(read, name)
        expected = ENGINE.get(name, "small")
        if name == "probes":
            value = {route: {"body": probe.fields} for route, probe in value.items()}
        if name == "load":
            value = dataclasses.asdict(value)
        assert value == (tuple(expected) if isinstance(expected, list) else expected), name


def test_an_engine_need_not_tell_its_load(tmp_path: Path) -> None:
    file = write_engine(tmp_path)
    lines = yaml.safe_load(file.read_text())
    del lines["load"]
    file.write_text(yaml.safe_dump(lines))

    assert engine_config.load(file).load is None


@pytest.mark.parametrize(
    ("load", "complaint"),
    [
        ({"path": "/metrics", "running": "a"}, "load.waiting: is missing"),
        ({"path": "metrics", "running": "a", "waiting": "b"}, "load.path: 'metrics' is not a"),
        ({"path": "/m", "running": "a", "waiting": "b", "x": "c"}, "load.x: unknown"),
    ],
)
def test_a_wrong_load_is_named(tmp_path: Path, load: dict[str, str], complaint: str) -> None:
    with pytest.raises(FieldError, match=re.escape(complaint)):
        engine_config.load(write_engine(tmp_path, load=load))


@pytest.mark.parametrize("file", sorted((CONFIGS / "engines").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_engines_of_this_repository_are_valid(file: Path) -> None:
    read = engine_config.load(file)

    assert read.start_deadline_s > read.stop_grace_s > read.drain_s


@pytest.mark.parametrize("file", sorted((CONFIGS / "engines").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_engines_of_this_repository_can_be_rendered(file: Path) -> None:
    engine = engine_config.load(file)
    arguments = tuple(part for name in engine.required_arguments for part in (name, "4096"))
    model = ModelConfig(
        file=Path("m.yaml"),
        id="vendor/model",
        engine=engine.name,
        routes=("completions",),
        path=Path("/models/m"),
        arguments=arguments,
    )
    places = Places(
        engines_dir=Path("/engines"),
        runtime_dir=Path("/run/hotnode"),
        socket=Path("/run/hotnode/s"),
        port=8765 if engine.wants_port else 0,
    )

    line = engine_command.command(engine, model, places)
    environ = engine_command.environment(engine, model, places, api_key="secret", ours={"X": "y"})

    assert line[0].startswith(f"/engines/{engine.name}/bin/")
    assert line[len(line) - len(arguments) :] == list(arguments)
    assert {"/models/m", "vendor/model"} <= set(line)
    assert ("8765" in line) is engine.wants_port
    assert "{" not in "".join([*line, *environ.values()])
    # The key is no argument, and what holds the site's secrets is not passed on.
    assert (environ[engine.api_key_variable], "secret" in line, "X" in environ) == (
        "secret",
        False,
        False,
    )


@pytest.mark.row("C-37", "L-19", "L-21")
def test_vllm_serves_staged_weights_under_the_models_id(tmp_path: Path) -> None:
    staged = tmp_path / "storage" / "checkpoint-9"
    staged.mkdir(parents=True)
    file = tmp_path / "m.yaml"
    file.write_text(
        "id: vendor/model\nengine: vllm\npath: storage/checkpoint-9\n"
        "arguments: [--max-model-len, '4096', --tensor-parallel-size, '8',"
        " --enable-expert-parallel]\n"
    )
    model = model_config.load(file)
    engine = engine_config.load(CONFIGS / "engines" / f"{model.engine}.yaml")
    socket = Path("/run/hotnode/s")
    places = Places(engines_dir=Path("/e"), runtime_dir=socket.parent, socket=socket, port=0)

    line = engine_command.command(engine, model, places)

    assert engine.framework == "vllm"
    assert line[:5] == ["/e/vllm/bin/vllm", "serve", str(staged), "--served-model-name", model.id]
    assert model.id == "vendor/model"
    assert line[line.index("--uds") + 1] == str(socket)
    assert line[-3:] == ["--tensor-parallel-size", "8", "--enable-expert-parallel"]


def test_vllm_on_gpus_differs_from_vllm_on_processors_where_it_must() -> None:
    gpu, cpu = (engine_config.load(CONFIGS / "engines" / f"{n}.yaml") for n in ("vllm", "vllm-cpu"))

    for same in ("framework", "paths", "probes", "reserved_arguments", "health_path"):
        assert getattr(gpu, same) == getattr(cpu, same), same
    assert "--enforce-eager" not in gpu.command
    patience = float(gpu.command[gpu.command.index("--shutdown-timeout") + 1])
    assert patience < gpu.stop_grace_s
    assert "CUDA_VISIBLE_DEVICES" in gpu.inherited


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"framework": None}, "framework", "must be a text"),
        ({"framework": ["vllm"]}, "framework", "must be a text"),
        ({"commandd": []}, "commandd", "unknown; known are api_key_variable"),
        ({"command": "vllm serve"}, "command", "must be a list"),
        ({"command": ["e", "{socket}"]}, "command", "lacks {model}, {model_path}"),
        ({"command": ["e", "{model}", "{model_path}"]}, "command", "must have {socket} or {port}"),
        ({"command": ["{socket}{port}{model}{model_path}"]}, "command", "and not both"),
        ({"command": ["e", "{host}"]}, "command", "unknown {host} in '{host}'; known are"),
        ({"command": ["e", "{"]}, "command", "write {{ for a brace"),
        ({"environment": {"A": "{x}"}}, "environment", "unknown {x}"),
        ({"environment": {"A": [1]}}, "environment.A", "must be a text"),
        ({"environment": "A=1"}, "environment", "must be a mapping"),
        ({"paths": ["/tokenize"]}, "paths", "'/tokenize' does not begin with /v1/"),
        ({"paths": {"/v1/score": "score"}}, "paths", "'score' is not a plain path"),
        ({"paths": {"/v1/a b": "/score"}}, "paths", "'/v1/a b' is not a plain path"),
        ({"paths": {"/v1/score": []}}, "paths./v1/score", "must be a text"),
        ({"paths": "/v1/score"}, "paths", "must be a mapping"),
        ({"paths": [None]}, "paths[0]", "must be a text"),
        ({"health_path": "/health?x"}, "health_path", "is not a plain path"),
        ({"probes": {"completions": {"bdy": {}}}}, "probes.completions.bdy", "unknown"),
        ({"probes": {"score": {}}}, "probes.score.body", "is missing"),
        ({"probes": {"score": {"form": {}}}}, "probes.score.silence", "is missing"),
        ({"probes": {"score": {"form": {}, "body": {}}}}, "probes.score.body", "unknown"),
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


def test_a_list_of_paths_leads_to_the_same_paths(tmp_path: Path) -> None:
    read = engine_config.load(write_engine(tmp_path, paths=["/v1/completions", "/v1/score"]))

    assert read.paths == {"/v1/completions": "/v1/completions", "/v1/score": "/v1/score"}


def test_a_model_s_routes_narrow_the_paths(tmp_path: Path) -> None:
    read = engine_config.load(write_engine(tmp_path))

    assert read.served(("completions", "elsewhere")) == {"/v1/completions": "/complete"}
    assert read.served(()) == {}


def test_the_probe_is_of_a_route_that_the_model_serves(tmp_path: Path) -> None:
    probes = {"score": {"body": {"a": 1}}, "completions": {"body": {"b": 2}}}
    read = engine_config.load(write_engine(tmp_path, probes=probes))

    path, probe = read.probe_for({"/v1/completions": "/complete"}) or ("", None)
    assert probe is not None
    assert (path, probe.fields) == ("/complete", {"b": 2})
    body, kind = probe.request("vendor/model")
    assert (json.loads(body), kind) == ({"model": "vendor/model", "b": 2}, "application/json")
    assert read.probe_for({"/v1/rerank": "/rerank"}) is None


def test_a_form_s_probe_is_a_file_of_silence(tmp_path: Path) -> None:
    probe = {"form": {"language": "en", "temperature": 0}, "silence": "file"}
    read = engine_config.load(write_engine(tmp_path, probes={"completions": probe}))

    body, kind = read.probes["completions"].request("vendor/model")
    said: Any = email.message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + body)
    fields = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in said.walk()
        if not part.is_multipart()
    }
    assert fields.keys() == {"model", "language", "temperature", "file"}
    assert (fields["model"], fields["temperature"]) == (b"vendor/model", b"0")
    with wave.open(io.BytesIO(fields["file"])) as sound:
        assert sound.getnframes() == sound.getframerate()
        assert not any(sound.readframes(sound.getnframes()))


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
    assert read.routes == ("completions",)


def test_a_model_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match=r"path: there is no folder .*/nowhere"):
        model_config.load(write_model(tmp_path, path="nowhere"))


@pytest.mark.parametrize("file", sorted((CONFIGS / "models").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_models_of_this_repository_fit_their_engines(file: Path, tmp_path: Path) -> None:
    (tmp_path / "infinity" / "models" / "all-MiniLM-L6-v2").mkdir(parents=True)
    read = model_config.load(file, tmp_path)
    engine = engine_config.load(CONFIGS / "engines" / f"{read.engine}.yaml")

    served = engine.served(read.routes)
    assert list(served) == [f"/v1/{route}" for route in read.routes]
    assert engine.probe_for(served) is not None


def test_a_model_that_says_no_routes_generates_text(tmp_path: Path) -> None:
    file = write_model(tmp_path)
    file.write_text(file.read_text().replace("routes:\n- completions\n", ""))

    assert model_config.load(file).routes == ("chat/completions", "completions")


def test_weights_may_come_with_an_engine(tmp_path: Path) -> None:
    (tmp_path / "engines" / "some" / "model").mkdir(parents=True)
    file = write_model(tmp_path, path="{engines_dir}/some/model")

    assert model_config.load(file, tmp_path / "engines").path == tmp_path / "engines/some/model"
    with pytest.raises(ConfigurationError, match="give --engines-dir or set HOTNODE_ENGINES_DIR"):
        model_config.load(file)
