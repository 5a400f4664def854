"""Whether the programs of a site's engines are where the engines' files say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compute_functions import engine_config
from compute_functions.errors import ConfigurationError
from compute_functions.site_config.policy import ModelPolicy

_ENGINES = "{engines_dir}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is to be said of an engine; with `fatal` its models cannot start."""

    engine: str
    said: str
    fatal: bool = True


def findings(policy: ModelPolicy, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is to be said of the site's engines, as this host sees them."""
    for engine in policy.engines:
        try:
            program = engine_config.load(policy.engine_file(engine)).command[0]
        except ConfigurationError as error:
            yield Finding(engine=engine, said=str(error))
            continue
        if _ENGINES not in program and "/" not in program:
            yield _looked_up(engine, program, environment)
        elif said := _problem(program, policy):
            yield Finding(engine=engine, said=said)


def _problem(program: str, policy: ModelPolicy) -> str:
    """Return why a program with a path cannot be started; nothing if it can."""
    if _ENGINES in program and policy.engines_dir is None:
        return f"its file names {_ENGINES}, and models.engines_dir is not set"
    path = Path(program.replace(_ENGINES, str(policy.engines_dir)))
    if not path.is_file():
        return f"there is no program {path}"
    return "" if os.access(path, os.X_OK) else f"{path} cannot be run: it is not executable"


def _looked_up(engine: str, program: str, environment: Mapping[str, str]) -> Finding:
    """Warn of a program without a path: what a job finds depends on its node."""
    here = shutil.which(program, path=environment.get("PATH", ""))
    if here is None:
        said = f"'{program}' is not in PATH here; jobs look it up in their own"
    else:
        said = f"'{program}' is {here} here; jobs look it up in their own PATH"
    return Finding(engine=engine, said=said, fatal=False)
