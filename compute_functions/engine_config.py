"""How one kind of engine is started, watched and stopped: a file of `endpoint_configs/engines/`."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compute_functions import operator_yaml
from compute_functions.instances import MAX_HEARTBEAT_S
from compute_functions.operator_yaml import Section

#: What a command or an environment value may ask to have filled in.
PLACEHOLDERS = frozenset({"engines_dir", "model", "model_path", "runtime_dir", "socket"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The smallest request that shows an engine to generate; the model's name is added to it."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One engine file, checked.

    `required_arguments` maps an argument that model files must give to the reason;
    `reserved_arguments` are those that they must not give, because the launcher or the site's
    policy sets them. `inherited` names the variables that the engine gets from the launcher.
    Every `watch_every_s` the engine's health is asked for and the heartbeat written.
    """

    name: str
    framework: str
    command: tuple[str, ...]
    api_key_variable: str
    environment: Mapping[str, str]
    inherited: tuple[str, ...]
    paths: tuple[str, ...]
    health_path: str
    probe: Probe
    watch_every_s: float
    start_deadline_s: float
    drain_s: float
    stop_grace_s: float
    required_arguments: Mapping[str, str]
    reserved_arguments: tuple[str, ...]


def load(file: Path) -> EngineConfig:
    """Read an engine file, or raise a `ConfigurationError` that names the place."""
    section = operator_yaml.load(file)
    section.allow(*(field for field in EngineConfig.__slots__ if field != "name"))
    return EngineConfig(
        name=file.stem,
        framework=section.text("framework"),
        command=_command(section),
        api_key_variable=section.text("api_key_variable"),
        environment=_environment(section),
        inherited=section.texts("inherited"),
        paths=_paths(section),
        health_path=_path(section, "health_path"),
        probe=_probe(section.section("probe")),
        watch_every_s=_watch(section),
        start_deadline_s=section.seconds("start_deadline_s"),
        drain_s=section.seconds("drain_s"),
        stop_grace_s=section.seconds("stop_grace_s"),
        required_arguments=section.mapping("required_arguments"),
        reserved_arguments=section.texts("reserved_arguments"),
    )


def _command(section: Section) -> tuple[str, ...]:
    command = section.texts("command")
    named = {name for part in command for name in _placeholders(section, "command", part)}
    missing = {"model", "model_path", "socket"} - named
    if missing:
        raise section.wrong("command", f"lacks {{{'}, {'.join(sorted(missing))}}}")
    return command


def _environment(section: Section) -> dict[str, str]:
    environment = section.mapping("environment")
    for value in environment.values():
        _placeholders(section, "environment", value)
    return environment


def _placeholders(section: Section, field: str, text: str) -> set[str]:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as error:
        raise section.wrong(field, f"{text!r}: {error}; write {{{{ for a brace") from error
    unknown = names - PLACEHOLDERS
    if unknown:
        known = ", ".join(sorted(PLACEHOLDERS))
        raise section.wrong(field, f"unknown {{{min(unknown)}}} in {text!r}; known are {known}")
    return names


def _paths(section: Section) -> tuple[str, ...]:
    paths = section.texts("paths")
    for path in paths:
        _check_path(section, "paths", path)
    return paths


def _path(section: Section, field: str) -> str:
    path = section.text(field)
    _check_path(section, field, path)
    return path


def _check_path(section: Section, field: str, path: str) -> None:
    if not path.startswith("/") or set(path) & set("?#% "):
        raise section.wrong(field, f"{path!r} is not a plain path that begins with /")


def _watch(section: Section) -> float:
    period = section.seconds("watch_every_s")
    if period > MAX_HEARTBEAT_S:
        raise section.wrong("watch_every_s", f"must be at most {MAX_HEARTBEAT_S:g}")
    return period


def _probe(section: Section) -> Probe:
    section.allow("path", "body")
    return Probe(path=_path(section, "path"), body=section.data("body"))
