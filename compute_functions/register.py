"""Register the cluster's functions with Globus Compute, once for each text.

    python -m compute_functions.register --lock FILE

Run again, it registers only what has changed, or what the service no longer knows. The identity is
the Globus client of GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET, or of the two files
given instead; nobody is asked to log in. `--print-allowed` prints the ids for an endpoint's
configuration and registers nothing.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import globus_sdk
from globus_compute_sdk import Client

from compute_functions import globus_client
from compute_functions.errors import ConfigurationError
from compute_functions.function_lock import FunctionLock, Stub
from compute_functions.globus_client import GlobusClient
from compute_functions.globus_service import connect
from compute_functions.stubs import STUBS

NOT_FOUND, UNAUTHORIZED = 404, 401


class Registry(Protocol):
    """Where functions are registered."""

    def knows(self, function_id: str) -> bool:
        """Whether a function is registered under this id."""

    def register(self, stub: Stub) -> str:
        """Register a function and return its id."""


class GlobusRegistry:
    """The Globus Compute service."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def knows(self, function_id: str) -> bool:
        """Ask the service; an id that it has dropped is simply unknown."""
        try:
            self._client.get_function(function_id)
        except globus_sdk.GlobusAPIError as error:
            if error.http_status == NOT_FOUND:
                return False
            raise
        return True

    def register(self, stub: Stub) -> str:
        """Register the function's text, with its docstring as the description."""
        function_id: str = self._client.register_function(stub)
        return function_id


def register(lock: FunctionLock, registry: Registry, stubs: Sequence[Stub]) -> FunctionLock:
    """Return the lock with every stub registered; those that are stay as they are."""
    for stub in stubs:
        known = lock.id_of(stub)
        if known is None or not registry.knows(known):
            lock = lock.having(stub, registry.register(stub))
    return lock


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = ArgumentParser(prog="python -m compute_functions.register", description=__doc__)
    parser.add_argument("--lock", type=Path, required=True, help="the lock file")
    parser.add_argument("--client-id-file", type=Path, help="instead of the variable")
    parser.add_argument("--client-secret-file", type=Path, help="instead of the variable")
    parser.add_argument("--print-allowed", action="store_true", help="register nothing")
    given = parser.parse_args(arguments)
    try:
        lock = FunctionLock.read_written(given.lock) if given.print_allowed else _registered(given)
        ids = lock.allowed(STUBS)
    except (ConfigurationError, globus_sdk.GlobusError) as error:
        sys.stderr.write(f"{_reason(error, given)}\n")
        return 1
    sys.stdout.write("".join(f"{function_id}\n" for function_id in ids))
    return 0


def _registered(given: Namespace) -> FunctionLock:
    """Register what is new, and return the lock as it is written now."""
    lock = FunctionLock.read(given.lock)
    if not given.lock.absolute().parent.is_dir():
        raise ConfigurationError(f"{given.lock.parent}: there is no such folder")
    lock = register(lock, GlobusRegistry(connect(_identity(given), name="hotnode register")), STUBS)
    lock.write(given.lock)
    return lock


def _reason(error: Exception, given: Namespace) -> str:
    """Return in words what went wrong; of a client that Globus Auth refuses, where it stands."""
    if isinstance(error, globus_sdk.AuthAPIError) and error.http_status == UNAUTHORIZED:
        files = (given.client_id_file, given.client_secret_file)
        names = (globus_client.ID, globus_client.SECRET) if None in files else files
        return (
            f"Globus Auth does not know this client, or not by this secret: {names[0]}, {names[1]}"
        )
    return f"{type(error).__name__}: {error}"


def _identity(given: Namespace) -> GlobusClient:
    files = (given.client_id_file, given.client_secret_file)
    if files == (None, None):
        return globus_client.require(
            os.environ, otherwise="; or give --client-id-file and --client-secret-file"
        )
    if None in files:
        raise ConfigurationError("give both --client-id-file and --client-secret-file, or neither")
    return GlobusClient.from_files(*files)


if __name__ == "__main__":
    sys.exit(main())
