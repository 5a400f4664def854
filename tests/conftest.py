"""Settings and plugins of every test: a configured Django on a database of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from compute_functions.site import VARIABLE, SiteDirectory
from resource_server.config import Settings
from resource_server.startup import configure_django
from tests.support import databases, shared_engines, sharing_out, system
from tests.support.rows import RowRecorder


def gateway_settings(state: Path, **values: object) -> Settings:
    """Return settings that open nothing outside `state`."""
    client = state / "client.json"
    client.write_text(json.dumps({"client_id": "client", "client_secret": "secret"}))
    defaults = {
        "state_dir": state,
        "secret_key": "k" * 40,
        "globus_client_file": client,
        "globus_clients_dir": state,
        "catalog_dir": state,
    }
    return Settings(**(defaults | values))


# The conftests of folders named on the command line are imported before any hook runs, and they
# import modules that need a configured Django.
STATE = tempfile.TemporaryDirectory(prefix="hotnode-test-")
configure_django(gateway_settings(Path(STATE.name)))


# A busy machine is no reason for a test to fail; `timeout` in pyproject.toml ends those that hang.
hypothesis.settings.register_profile(
    "hotnode", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hotnode")


def pytest_configure(config: pytest.Config) -> None:
    """Record which requirement rows pass, lend servers, and remove the database in the end."""
    config.add_cleanup(STATE.cleanup)
    config.pluginmanager.register(RowRecorder())
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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteDirectory:
    """Return a site's directory, as the endpoint's environment would name it."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "site"))
    return SiteDirectory(tmp_path / "site")
