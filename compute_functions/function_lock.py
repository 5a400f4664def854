"""The lock file: under which id each stub is registered, and with which text."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from compute_functions import private_file
from compute_functions.errors import ConfigurationError

Stub = Callable[[dict[str, Any]], dict[str, Any]]


def digest(stub: Stub) -> str:
    """Return the hash of a stub's text, which decides whether it must be registered anew."""
    return hashlib.sha256(inspect.getsource(stub).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One registered function."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLock:
    """The registered functions by their stubs' names."""

    functions: Mapping[str, Locked] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the lock; without a file nothing is registered yet."""
        if not file.exists():
            return cls()
        try:
            values = json.loads(file.read_text(encoding="utf-8"))["functions"]
            return cls(functions={name: Locked(**value) for name, value in values.items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"{file} is not a lock of functions: {error}") from error

    @classmethod
    def read_written(cls, file: Path) -> Self:
        """Read the lock that must be there already."""
        if not file.exists():
            raise ConfigurationError(
                f"{file}: there is no such file; "
                f"python -m compute_functions.register --lock {file} writes it"
            )
        return cls.read(file)

    def write(self, file: Path) -> None:
        """Replace the file in one step."""
        values = {name: asdict(locked) for name, locked in sorted(self.functions.items())}
        private_file.write(file, json.dumps({"functions": values}, indent=2) + "\n")

    def id_of(self, stub: Stub) -> str | None:
        """Return the id under which this very text is registered, if it is."""
        locked = self.functions.get(stub.__name__)
        return locked.id if locked and locked.sha256 == digest(stub) else None

    def having(self, stub: Stub, function_id: str) -> Self:
        """Return the lock with `stub` registered under `function_id`."""
        entry = Locked(id=function_id, sha256=digest(stub))
        return type(self)(functions={**self.functions, stub.__name__: entry})

    def allowed(self, stubs: tuple[Stub, ...]) -> list[str]:
        """Return the ids that an endpoint must allow; every stub must be registered."""
        missing = [stub.__name__ for stub in stubs if self.id_of(stub) is None]
        if missing:
            raise ConfigurationError(
                f"not registered as they are now: {', '.join(missing)}; "
                "run python -m compute_functions.register"
            )
        return [self.functions[stub.__name__].id for stub in stubs]
