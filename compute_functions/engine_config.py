"""How one kind of engine is started, watched and stopped: a file of `endpoint_configs/engines/`."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compute_functions import operator_yaml, silence
from compute_functions.instances import MAX_HEARTBEAT_S
from compute_functions.operator_yaml import Section

#: What a command or an environment value may ask to have filled in.
PLACEHOLDERS = frozenset({"engines_dir", "model", "model_path", "port", "runtime_dir", "socket"})
#: A route as a model's file names it is this much shorter than the path that callers use.
PUBLIC_ROOT = "/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The smallest request that shows an engine to work; the model's name is added to it.

    `fields` are a JSON object's or, with the name of a `silence` field, a form's: then that field
    is an audio file in which nothing is to be heard.
    """

    fields: Mapping[str, Any]
    silence: str = ""

    def request(self, model: str) -> tuple[bytes, str]:
        """Return body and content type."""
        if not self.silence:
            return json.dumps({"model": model, **self.fields}).encode(), "application/json"
        texts = {"model": model, **{name: str(value) for name, value in self.fields.items()}}
        return silence.form(texts, self.silence)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetrics:
    """Where an engine tells its load: a page in Prometheus's format, and two names on it."""

    path: str
    running: str
    waiting: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One engine file, checked.

    `required_arguments` maps an argument that model files must give to the reason;
    `reserved_arguments` are those that they must not give, because the launcher or the site's
    policy sets them. `inherited` names the variables that the engine gets from the launcher.
    `paths` maps each path that callers may use to the engine's own; `probes` are by route, a path
    less `/v1/`. Every `watch_every_s` the engine's health is asked for.
    `load` is None for an engine that does not tell how busy it is. Lines of batches are sent with
    `batch_priority`; None for an engine that does not schedule by priorities.
    """

    name: str
    framework: str
    command: tuple[str, ...]
    api_key_variable: str
    environment: Mapping[str, str]
    inherited: tuple[str, ...]
    paths: Mapping[str, str]
    health_path: str
    probes: Mapping[str, Probe]
    watch_every_s: float
    start_deadline_s: float
    drain_s: float
    stop_grace_s: float
    required_arguments: Mapping[str, str]
    reserved_arguments: tuple[str, ...]
    load: LoadMetrics | None = None
    batch_priority: int | None = None

    @property
    def wants_port(self) -> bool:
        """Whether the engine listens on a port: it cannot listen on a Unix socket."""
        return any("{port}" in part for part in self.command)

    def served(self, routes: tuple[str, ...]) -> dict[str, str]:
        """Return of `paths` those for a model's `routes`."""
        wanted = [PUBLIC_ROOT + route for route in routes]
        return {path: self.paths[path] for path in wanted if path in self.paths}

    def probe_for(self, paths: Mapping[str, str]) -> tuple[str, Probe] | None:
        """Return the first probe whose path is among those served, with the engine's path."""
        for route, probe in self.probes.items():
            if path := paths.get(PUBLIC_ROOT + route):
                return path, probe
        return None


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
        probes=_probes(section.section("probes")),
        watch_every_s=_watch(section),
        start_deadline_s=section.seconds("start_deadline_s"),
        drain_s=section.seconds("drain_s"),
        stop_grace_s=section.seconds("stop_grace_s"),
        required_arguments=section.mapping("required_arguments"),
        reserved_arguments=section.texts("reserved_arguments"),
        load=_load(section.section("load")) if "load" in section.names() else None,
        batch_priority=section.whole_number("batch_priority", least=1)
        if section.has("batch_priority")
        else None,
    )


def _command(section: Section) -> tuple[str, ...]:
    command = section.texts("command")
    named = {name for part in command for name in _placeholders(section, "command", part)}
    missing = {"model", "model_path"} - named
    if missing:
        raise section.wrong("command", f"lacks {{{'}, {'.join(sorted(missing))}}}")
    if len(named & {"port", "socket"}) != 1:
        raise section.wrong("command", "must have {socket} or {port}, and not both")
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


def _paths(section: Section) -> dict[str, str]:
    """Return where each public path leads; a list of paths leads to the same ones."""
    if section.is_list("paths"):
        paths = {path: path for path in section.texts("paths")}
    else:
        paths = section.mapping("paths")
    for public, own in paths.items():
        _check_path(section, "paths", own)
        if not public.startswith(PUBLIC_ROOT):
            raise section.wrong("paths", f"{public!r} does not begin with {PUBLIC_ROOT}")
        _check_path(section, "paths", public)
    return paths


def _path(section: Section, field: str) -> str:
    path = section.text(field)
    _check_path(section, field, path)
    return path


def _check_path(section: Section, field: str, path: str) -> None:
    if not path.startswith("/") or set(path) & set("?#% "):
        raise section.wrong(field, f"{path!r} is not a plain path that begins with /")


def _load(section: Section) -> LoadMetrics:
    section.allow(*LoadMetrics.__slots__)
    running, waiting = section.text("running"), section.text("waiting")
    return LoadMetrics(path=_path(section, "path"), running=running, waiting=waiting)


def _watch(section: Section) -> float:
    period = section.seconds("watch_every_s")
    if period > MAX_HEARTBEAT_S:
        raise section.wrong("watch_every_s", f"must be at most {MAX_HEARTBEAT_S:g}")
    return period


def _probes(section: Section) -> dict[str, Probe]:
    return {route: _probe(section.section(route)) for route in section.names()}


def _probe(section: Section) -> Probe:
    if "form" not in section.names():
        section.allow("body")
        return Probe(fields=section.data("body"))
    section.allow("form", "silence")
    return Probe(fields=section.mapping("form"), silence=section.text("silence"))
