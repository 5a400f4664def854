"""The tokens file: private, complete at every moment, and at globus_sdk's place."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from globus_sdk.token_storage import TokenStorageData

from auth_helper.inference_auth_token import Settings, TokensFile, TokensUnusable, tokens_file


def a_token(text: str, kind: type[TokenStorageData] = TokenStorageData) -> TokenStorageData:
    return kind(
        resource_server="server",
        identity_id="me",
        scope="all",
        access_token=text,
        refresh_token=None,
        expires_at_seconds=0,
        token_type="Bearer",
    )


class TokenOnAFullDisk(TokenStorageData):
    """Cannot be written."""

    def to_dict(self, include_extra: bool = False) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def stored(tmp_path: Path) -> TokensFile:
    file = TokensFile(tmp_path / "tokens.json")
    file.store_token_data_by_resource_server({"server": a_token("old")})
    return file


def mode(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


@pytest.mark.row("C-12")
@pytest.mark.parametrize(
    ("environment", "name"), [("production", "tokens.json"), ("preview", "preview-tokens.json")]
)
def test_it_lies_where_globus_sdk_keeps_tokens(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, environment: str, name: str
) -> None:
    monkeypatch.setenv("GLOBUS_SDK_ENVIRONMENT", environment)
    expected = Path.home() / ".globus/app" / settings.client_id / "inference_app" / name
    assert tokens_file(settings).filepath == str(expected)


@pytest.mark.row("C-12")
def test_a_new_file_is_private(stored: TokensFile) -> None:
    assert mode(stored.filepath) == 0o600


def test_a_file_that_others_could_read_becomes_private(stored: TokensFile) -> None:
    Path(stored.filepath).chmod(0o644)
    stored.store_token_data_by_resource_server({"server": a_token("new")})
    assert mode(stored.filepath) == 0o600


def test_tokens_of_other_servers_stay(stored: TokensFile) -> None:
    stored.store_token_data_by_resource_server({"other": a_token("new")})
    kept = stored.get_token_data_by_resource_server()
    assert {name: data.access_token for name, data in kept.items()} == {
        "server": "old",
        "other": "new",
    }


def test_who_reads_meanwhile_sees_all_of_the_old_file(stored: TokensFile) -> None:
    with Path(stored.filepath).open() as reader:
        stored.store_token_data_by_resource_server({"server": a_token("new")})
        seen = json.load(reader)
    assert seen["data"]["DEFAULT"]["server"]["access_token"] == "old"


def test_who_reads_while_tokens_are_removed_sees_all_of_the_old_file(stored: TokensFile) -> None:
    with Path(stored.filepath).open() as reader:
        assert stored.remove_token_data("server")
        seen = json.load(reader)
    assert seen["data"]["DEFAULT"]["server"]["access_token"] == "old"
    assert stored.get_token_data_by_resource_server() == {}
    assert mode(stored.filepath) == 0o600


def test_a_full_disk_leaves_the_old_file_and_nothing_else(stored: TokensFile) -> None:
    with pytest.raises(OSError, match="No space"):
        stored.store_token_data_by_resource_server({"server": a_token("new", TokenOnAFullDisk)})
    data = stored.get_token_data("server")
    assert data is not None
    assert data.access_token == "old"
    left = [path.name for path in Path(stored.filepath).parent.iterdir()]
    assert left == ["tokens.json"]


def test_a_place_that_cannot_be_made_is_explained(home: Path, settings: Settings) -> None:
    (home / ".globus").write_text("a file, not a folder")
    with pytest.raises(TokensUnusable, match="Not a directory"):
        tokens_file(settings)


def test_an_app_name_that_is_no_file_name_is_explained(home: Path) -> None:
    settings = Settings(client_id="c", gateway_id="g", app_name="con")
    with pytest.raises(TokensUnusable, match="App name results in a reserved filename"):
        tokens_file(settings)
