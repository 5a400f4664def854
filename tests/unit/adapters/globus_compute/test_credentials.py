"""Client files: read where they are good, refused with a reason where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.globus_compute.credentials import (
    ClientCredentials,
    CredentialsError,
)

GOOD = '{"client_id": "id", "client_secret": "s3cret"}'


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "polaris.json"
    path.write_text(text)
    path.chmod(mode)
    return folder


def test_a_file_is_read_and_its_secret_does_not_show(tmp_path: Path) -> None:
    with capture_logs() as logs:
        credentials = ClientCredentials.read(written(tmp_path, GOOD), "polaris")
    assert (credentials.client_id, credentials.client_secret) == ("id", "s3cret")
    assert "s3cret" not in repr(credentials)
    assert logs == []


def test_a_file_that_others_can_read_is_pointed_out(tmp_path: Path) -> None:
    with capture_logs() as logs:
        ClientCredentials.read(written(tmp_path, GOOD, 0o644), "polaris")
    assert [entry["event"] for entry in logs] == ["globus_client_file_open_to_others"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"client_id": "id"}',
        '{"client_id": "id", "client_secret": ""}',
        "{",
        "\xff",
    ],
)
def test_a_file_without_credentials_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CredentialsError, match=r"polaris\.json"):
        ClientCredentials.read(written(tmp_path, text), "polaris")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"polaris\.json"):
        ClientCredentials.read(tmp_path, "polaris")


@pytest.mark.parametrize("name", ["", "../polaris", "a/b", ".hidden", "a b", "/etc/passwd"])
def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(CredentialsError, match="no name"):
        ClientCredentials.read(written(tmp_path, GOOD), name)
