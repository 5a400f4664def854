"""The errors of the cluster's code, split by who can do something about them.

    SiteError
    ├── ConfigurationError    a file or setting of the operators is wrong
    │   └── FieldError            one field of a YAML file, with its place
    ├── AlreadyRunning        the instance's name is taken by a living launcher
    ├── EngineFailed          the engine did not start, or died
    ├── EndpointFailed        the Globus Compute endpoint did not do what it was told
    └── CallFailed            one HTTP call to an engine gave no answer
        ├── EngineUnreachable
        ├── EngineTimedOut
        └── AnswerTooLarge

None of them crosses Globus Compute: `run_request` turns them into the contract's values.
"""

from __future__ import annotations

from pathlib import Path


class SiteError(Exception):
    """Something at this site did not work."""


class ConfigurationError(SiteError):
    """A file or setting of the site's operators is wrong."""


class FieldError(ConfigurationError):
    """A field of an operators' YAML file is wrong."""

    def __init__(self, file: Path, line: int, field: str, problem: str) -> None:
        super().__init__(f"{file}, line {line}: {field}: {problem}")
        self.file = file
        self.line = line
        self.field = field
        self.problem = problem


class AlreadyRunning(SiteError):
    """The instance's name is taken by a launcher that lives."""


class EngineFailed(SiteError):
    """The engine did not become ready, or stopped by itself."""


class EndpointFailed(SiteError):
    """The Globus Compute endpoint did not do what it was told."""


class CallFailed(SiteError):
    """One HTTP call to an engine gave no answer."""


class EngineUnreachable(CallFailed):
    """Nobody listens where the engine should be, or it hung up before it had answered."""


class EngineTimedOut(CallFailed):
    """The engine did not answer in the time that the caller allowed."""


class AnswerTooLarge(CallFailed):
    """The engine's answer is larger than the caller allowed."""
