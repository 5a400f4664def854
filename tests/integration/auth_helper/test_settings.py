"""Where the login helper takes its settings from, and what it says when they are missing."""

import sys
from pathlib import Path

import pytest

from auth_helper import inference_auth_token
from auth_helper.inference_auth_token import NotConfigured, load_settings

CLIENT = "10910000-0000-4000-8000-000000000001"
GATEWAY = "9a7e0000-0000-4000-8000-000000000001"
BOTH = {"client_id": CLIENT, "gateway_id": GATEWAY}


def write_default_config(home: Path, text: str) -> None:
    file = home / ".config" / "hotnode" / "auth.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_only_the_two_ids_are_needed(home: Path) -> None:
    settings = load_settings(BOTH)
    assert settings.app_name == "inference_app"
    assert (settings.session_policies, settings.session_domains, settings.base_url) == ((), (), "")


def test_flags_win_over_the_environment_over_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("app_name", "base_url", "session_domains")
    write_default_config(home, "".join(f'{name} = "from-file"\n' for name in names))
    for name in names[1:]:
        monkeypatch.setenv(f"HOTNODE_AUTH_{name.upper()}", "from-environment")
    settings = load_settings(BOTH | {"session_domains": "from-flag"})
    assert [getattr(settings, name) for name in names] == [
        "from-file",
        "from-environment",
        ("from-flag",),
    ]


@pytest.mark.parametrize("name", ["client_id", "gateway_id"])
def test_what_is_no_id_is_refused_before_globus_is_asked(home: Path, name: str) -> None:
    with pytest.raises(NotConfigured, match=f"{name} is 'gateway', and must be a UUID"):
        load_settings(BOTH | {name: "gateway"})


def test_a_named_file_replaces_the_default_one(home: Path) -> None:
    write_default_config(home, f'client_id = "{CLIENT}"\ngateway_id = "{GATEWAY}"\n')
    other = home / "other.toml"
    other.write_text(f'client_id = "{GATEWAY}"\ngateway_id = "{CLIENT}"\n')
    assert load_settings().client_id == CLIENT
    assert load_settings({"config": str(other)}).client_id == GATEWAY


def test_the_environment_can_name_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "other.toml").write_text(f'client_id = "{CLIENT}"\ngateway_id = "{GATEWAY}"\n')
    monkeypatch.setenv("HOTNODE_AUTH_CONFIG", "~/other.toml")
    assert load_settings().gateway_id == GATEWAY


def test_missing_settings_are_named_with_all_three_ways(home: Path) -> None:
    with pytest.raises(NotConfigured) as caught:
        load_settings({"client_id": CLIENT})
    text = str(caught.value)
    assert "--gateway-id" in text
    assert "HOTNODE_AUTH_GATEWAY_ID" in text
    assert "write gateway_id to ~/.config/hotnode/auth.toml" in text
    assert "client_id" not in text
    # Others ask for a token, too, as `batch`, which has no such option.
    assert "if you call inference_auth_token.py yourself: give --gateway-id ID" in text


@pytest.mark.parametrize("value", ['"p1, p2"', '["p1", "p2"]'])
def test_a_list_may_be_written_either_way(home: Path, value: str) -> None:
    write_default_config(home, f"session_policies = {value}")
    assert load_settings(BOTH).session_policies == ("p1", "p2")


def test_domains_come_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTNODE_AUTH_SESSION_DOMAINS", "example.org,partner.example")
    assert load_settings(BOTH).session_domains == ("example.org", "partner.example")


def test_a_misspelt_key_is_refused(home: Path) -> None:
    write_default_config(home, f'clientid = "{CLIENT}"')
    with pytest.raises(NotConfigured, match=r"auth\.toml: unknown clientid; known are client_id"):
        load_settings(BOTH)


def test_a_file_that_is_no_toml_is_named(home: Path) -> None:
    write_default_config(home, "client_id: not toml")
    with pytest.raises(NotConfigured, match=r"Cannot read the config file .*auth\.toml"):
        load_settings(BOTH)


def test_a_named_file_has_to_exist(home: Path) -> None:
    with pytest.raises(NotConfigured, match="nowhere"):
        load_settings(BOTH | {"config": "nowhere.toml"})


def test_the_next_command_is_for_the_same_deployment(home: Path) -> None:
    settings = load_settings(BOTH | {"app_name": "my app", "config": None})
    command = settings.command("authenticate", "--force")
    assert "inference_auth_token.py authenticate --force " in command
    assert f"--client-id={CLIENT}" in command
    assert "'--app-name=my app'" in command


def test_the_next_command_is_short_beside_the_script(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setenv("HOTNODE_AUTH_CLIENT_ID", CLIENT)
    monkeypatch.setenv("HOTNODE_AUTH_GATEWAY_ID", GATEWAY)
    monkeypatch.chdir(Path(inference_auth_token.__file__).parent)
    assert load_settings().command("authenticate") == "python inference_auth_token.py authenticate"


def test_the_next_command_names_the_python_that_is_not_the_shell_s(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = home / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(Path(sys.executable).resolve())  # the same program without the packages
    monkeypatch.setenv("PATH", str(other.parent))
    command = load_settings(BOTH).command("get_access_token")
    assert command.startswith(f"{sys.executable} ")
