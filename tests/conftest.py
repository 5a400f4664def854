"""Settings and plugins of every test: a configured Django on a database of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from compute_functions.site import VARIABLE, SiteDirectory
from resource_server.config import Settings
from resource_server.startup import configure_django
from tests.support import databases, loops, shared_engines, sharing_out, system
from tests.support.rows import RowRecorder


def gateway_settings(state: Path, **values: Any) -> Settings:
    """Return settings that open nothing outside `state`."""
    client = state / "client.json"
    client.write_text(json.dumps({"client_id": "client", "client_secret": "secret"}))
    defaults: dict[str, Any] = {
        "state_dir": state,
        "secret_key": "k" * 40,
        "globus_client_file": client,
        "globus_clients_dir": state,
        "catalog_dir": state,
    }
    return Settings(**(defaults | values))


# Programs of tests start some hundred times. An environment in which Python keeps nothing that it
# has compiled, as images of containers set it, would have each compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The conftests of folders named on the command line are imported before any hook runs, and they
# import modules that need a configured Django.
STATE = tempfile.TemporaryDirectory(prefix="hotnode-test-")
configure_django(gateway_settings(Path(STATE.name)))


# A busy machine is no reason for a test to fail; `timeout` in pyproject.toml ends those that hang.
hypothesis.settings.register_profile(
    "hotnode", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hotnode")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs like this, and every program that a test starts would inherit
    # it: none of them could be interrupted as from a terminal.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Record which requirement rows pass, lend servers, and remove the database in the end."""
    config.add_cleanup(STATE.cleanup)
    if config.option.basetemp is None:
        # Pytest's own folders have names that grow with each run, and the paths of sockets below
        # them must fit into 107 bytes.
        config.option.basetemp = Path(STATE.name) / "t"
    config.pluginmanager.register(RowRecorder())
    config.pluginmanager.register(loops)
    config.pluginmanager.register(system)
    config.pluginmanager.register(databases)
    config.pluginmanager.register(shared_engines)
    config.pluginmanager.register(sharing_out)


@pytest.fixture(scope="session")
def _migrated(django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        call_command("migrate", interactive=False, verbosity=0)


@pytest.fixture
def database(_migrated: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Empty the gateway's database and allow its use."""
    with django_db_blocker.unblock():
        databases.empty_tables()
        yield
        databases.let_go()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteDirectory:
    """Return a site's directory, as the endpoint's environment would name it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "site"))
    return SiteDirectory(tmp_path / "site")
