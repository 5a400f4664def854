"""A home directory of its own and a clean environment for each test of the login helper."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from auth_helper.inference_auth_token import Settings

CLIENT = "10910000-0000-4000-8000-000000000001"
GATEWAY = "9a7e0000-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be a person whose shell has set nothing."""
    for name in list(os.environ):
        if name.startswith(("HOTNODE_AUTH_", "GLOBUS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def settings(home: Path) -> Settings:
    """Name a deployment."""
    return Settings(client_id=CLIENT, gateway_id=GATEWAY)


@pytest.fixture
def globus() -> Iterator[responses.RequestsMock]:
    """Catch what would go to Globus; a test says what it answers."""
    with responses.RequestsMock() as answers:
        yield answers
