"""The parts of `site.yaml` that bound what a gateway may ask for. The site's policy wins."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from compute_functions.instances import MAX_HEARTBEAT_S
from compute_functions.operator_yaml import Section

_JOB_SECONDS = ("kill_wait_s", "drain_before_s", "walltime_every_s")
#: In an address, the name by which the scheduler knows a node.
NODE = "{node}"
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """With what a job runs: the Python of the pinned environment, and the variables it sees.

    `inherit` names variables of the agent that jobs get besides the usual ones. `runtime_dir` is a
    folder of the node's own for sockets; None for the job's `TMPDIR`. To `local_weights_dir`
    weights are copied whose model's file wants that; `keep_weights` leaves them there.
    `kill_wait_s` passes between the scheduler's SIGTERM and its SIGKILL. `drain_before_s` before
    its walltime ends, for which it asks the scheduler every `walltime_every_s`, an instance that
    nobody drains takes no new requests. `task_host` is the address at which functions on the login
    node reach a node, with `{node}` for its name; without one they do not.
    """

    python: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    inherit: tuple[str, ...] = ()
    runtime_dir: Path | None = None
    local_weights_dir: Path | None = None
    keep_weights: bool = False
    kill_wait_s: float = 30.0
    drain_before_s: float = 120.0
    walltime_every_s: float = 60.0
    task_host: str = ""

    @classmethod
    def read(cls, section: Section | None) -> Self:
        """Read the section `job`; without one the agent's own Python runs jobs as well."""
        if section is None:
            return cls(python=Path(sys.executable))
        section.allow(*cls.__slots__)
        return cls(
            python=_file(section, "python") if section.has("python") else Path(sys.executable),
            environment=_variables(section),
            inherit=section.texts("inherit") if section.has("inherit") else (),
            runtime_dir=_node_folder(section, "runtime_dir"),
            local_weights_dir=_node_folder(section, "local_weights_dir"),
            keep_weights=section.has("keep_weights") and section.flag("keep_weights"),
            task_host=_host(section),
            **{name: section.seconds(name) for name in _JOB_SECONDS if section.has(name)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPolicy:
    """Which models and engines run here, and where their files are.

    `engine_files` is a folder with one YAML file per engine, of which only those in `engines` may
    be started; `model_files` are folders with one YAML file per model. A model's weights lie below
    one of `weight_roots`. `engines_dir` is where engines are installed. `extra_arguments` maps a
    model's id to arguments that only the site may give, as `--trust-remote-code`.
    """

    engine_files: Path
    engines: tuple[str, ...]
    model_files: tuple[Path, ...]
    weight_roots: tuple[Path, ...]
    engines_dir: Path | None = None
    extra_arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the section `models`."""
        section.allow(*cls.__slots__)
        policy = cls(
            engine_files=_folder(section, "engine_files"),
            engines=section.texts("engines"),
            model_files=_folders(section, "model_files"),
            weight_roots=tuple(root.resolve() for root in _folders(section, "weight_roots")),
            engines_dir=_folder(section, "engines_dir") if section.has("engines_dir") else None,
            extra_arguments=_extra_arguments(section),
        )
        for engine in policy.engines:
            if not policy.engine_file(engine).is_file():
                raise section.wrong("engines", f"there is no {policy.engine_file(engine)}")
        return policy

    def engine_file(self, engine: str) -> Path:
        """Return where an engine's file stands."""
        return self.engine_files / f"{engine}.yaml"

    def holds(self, weights: Path) -> bool:
        """Whether a model's folder lies below a root, wherever its links lead."""
        return any(weights.resolve().is_relative_to(root) for root in self.weight_roots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large, how many and how long.

    `gpus` and `walltime_s` bound one instance, `jobs` and `gpus_in_all` the site; None is no bound.
    `surge` is how many instances more there may be while successors take over. An instance must be
    ready `start_deadline_s` after its job began, and ends `drain_s` after it was told to, whatever
    is under way. The scheduler is asked for its jobs every `poll_s`, and after each change.
    """

    gpus: int
    walltime_s: float
    jobs: int
    gpus_in_all: int | None = None
    surge: int = 1
    start_deadline_s: float = 3600.0
    drain_s: float = 600.0
    heartbeat_s: float = 2.0
    poll_s: float = 5.0

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the section `limits`."""
        section.allow(*cls.__slots__)
        numbers = {
            name: section.whole_number(name, least=0 if name in {"surge", "gpus"} else 1)
            for name in ("gpus", "jobs", "gpus_in_all", "surge")
            if section.has(name) or name in {"gpus", "jobs"}
        }
        durations = {
            name: section.seconds(name)
            for name in ("walltime_s", "start_deadline_s", "drain_s", "heartbeat_s", "poll_s")
            if section.has(name) or name == "walltime_s"
        }
        limits = cls(**numbers, **durations)  # type: ignore[arg-type]  # whole numbers and seconds, by the names above
        if limits.heartbeat_s > MAX_HEARTBEAT_S:
            raise section.wrong("heartbeat_s", f"must be at most {MAX_HEARTBEAT_S:g}")
        return limits


def _folder(section: Section, name: str) -> Path:
    folder = _absolute(section, name, section.text(name))
    if not folder.is_dir():
        raise section.wrong(name, f"there is no folder {folder}")
    return folder


def _node_folder(section: Section, name: str) -> Path | None:
    """Return a folder of the nodes, which need not be here; none if the field is left out."""
    if not section.has(name):
        return None
    folder = Path(section.text(name))
    if not folder.is_absolute():
        raise section.wrong(name, "must be an absolute path")
    return folder


def _host(section: Section) -> str:
    if not section.has("task_host"):
        return ""
    host = section.text("task_host")
    if not _HOST.fullmatch(host.replace(NODE, "node")):
        raise section.wrong("task_host", f"must be an address of a node, as {NODE} or {NODE}-ib0")
    return host


def _folders(section: Section, name: str) -> tuple[Path, ...]:
    folders = tuple(_absolute(section, name, text) for text in section.texts(name))
    for folder in folders:
        if not folder.is_dir():
            raise section.wrong(name, f"there is no folder {folder}")
    return folders


def _file(section: Section, name: str) -> Path:
    file = _absolute(section, name, section.text(name))
    if not file.is_file():
        raise section.wrong(name, f"there is no file {file}")
    return file


def _absolute(section: Section, name: str, text: str) -> Path:
    """Return a path; a relative one counts from the file's folder."""
    if not text:
        raise section.wrong(name, "must name a path")
    return section.file.absolute().parent / text


def _variables(section: Section) -> dict[str, str]:
    if not section.has("environment"):
        return {}
    variables = section.mapping("environment")
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise section.wrong("environment", f"{name!r} is no name of a variable")
    return variables


def _extra_arguments(section: Section) -> dict[str, tuple[str, ...]]:
    if not section.has("extra_arguments"):
        return {}
    extra = section.section("extra_arguments")
    return {model: extra.texts(model) for model in extra.names()}
