"""The command line and the environment with which an engine is started for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compute_functions.engine_config import EngineConfig
from compute_functions.errors import ConfigurationError
from compute_functions.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders of this host that a command may name, and where the engine shall listen.

    `port` is 0 for an engine that listens on `socket`.
    """

    engines_dir: Path | None
    runtime_dir: Path
    socket: Path
    port: int = 0


def command(
    engine: EngineConfig, model: ModelConfig, places: Places, *, extra: tuple[str, ...] = ()
) -> list[str]:
    """Return the argument list, or raise `ConfigurationError` if the model's file forbids it.

    `extra` arguments are the site's own for this model, which a model's file may not give.
    """
    _check(engine, model, extra)
    values = _values(model, places)
    return [_filled(part, values) for part in engine.command] + [*model.arguments, *extra]


def environment(
    engine: EngineConfig,
    model: ModelConfig,
    places: Places,
    *,
    api_key: str,
    ours: Mapping[str, str],
) -> dict[str, str]:
    """Return the engine's environment: what it may inherit of `ours`, its own, and its key.

    The key goes by environment: arguments are everybody's to read, while a process's environment
    is its user's alone, and the engines leave it out of their logs.
    """
    values = _values(model, places)
    inherited = {name: ours[name] for name in engine.inherited if name in ours}
    own = {name: _filled(value, values) for name, value in engine.environment.items()}
    return {**inherited, **own, engine.api_key_variable: api_key}


def _values(model: ModelConfig, places: Places) -> dict[str, str | None]:
    return {
        "engines_dir": None if places.engines_dir is None else str(places.engines_dir),
        "model": model.id,
        "model_path": str(model.path),
        "port": str(places.port),
        "runtime_dir": str(places.runtime_dir),
        "socket": str(places.socket),
    }


def _filled(text: str, values: Mapping[str, str | None]) -> str:
    if "{engines_dir}" in text and values["engines_dir"] is None:
        raise ConfigurationError(
            "the engine's file names {engines_dir}: give --engines-dir or set HOTNODE_ENGINES_DIR"
        )
    return text.format(**values)


def _check(engine: EngineConfig, model: ModelConfig, extra: tuple[str, ...]) -> None:
    if model.engine != engine.name:
        raise ConfigurationError(
            f"{model.file}: engine: the model is for {model.engine!r}, this is {engine.name!r}"
        )
    flags = {_flag(argument) for argument in model.arguments if argument.startswith("-")}
    for flag in flags:
        _refuse_reserved(flag, engine, model)
    given = flags | {_flag(part) for part in (*engine.command, *extra)}
    for name in engine.required_arguments.keys() - given:
        reason = engine.required_arguments[name]
        raise ConfigurationError(f"{model.file}: arguments: {name} is needed: {reason}")


def _refuse_reserved(flag: str, engine: EngineConfig, model: ModelConfig) -> None:
    """Refuse a reserved argument, and its beginnings, which an engine takes for the whole."""
    for name in engine.reserved_arguments:
        if name.startswith(flag):
            raise ConfigurationError(f"{model.file}: arguments: {name} is not the model's to set")


def _flag(argument: str) -> str:
    """Return the name of an argument as `--max-len`, for `--max_len=8` as well."""
    return argument.partition("=")[0].replace("_", "-")
