"""What the login helper makes of the answers, and of the silence, of Globus Auth."""

import io
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
import responses
from cryptography.hazmat.primitives.asymmetric import rsa
from globus_sdk.token_storage import TokenStorageData

from auth_helper import inference_auth_token
from auth_helper.inference_auth_token import Settings, main, tokens_file

TOKEN_URL = "https://auth.globus.org/v2/oauth2/token"


def store_expired(settings: Settings) -> None:
    """Leave behind what a login of two days ago stored."""
    data = TokenStorageData(
        resource_server=settings.gateway_id,
        identity_id="a11ce000-0000-4000-8000-000000000001",
        scope=f"https://auth.globus.org/scopes/{settings.gateway_id}/action_all",
        access_token="old-access",
        refresh_token="the-refresh",
        expires_at_seconds=int(time.time()) - 1,
        token_type="Bearer",
    )
    tokens_file(settings).store_token_data_by_resource_server({settings.gateway_id: data})


def run(settings: Settings, *arguments: str) -> int:
    ids = ["--client-id", settings.client_id, "--gateway-id", settings.gateway_id]
    return main([*arguments, *ids])


def refreshed(settings: Settings) -> dict[str, object]:
    return {
        "access_token": "new-access",
        "refresh_token": "the-refresh",
        "scope": f"https://auth.globus.org/scopes/{settings.gateway_id}/action_all",
        "expires_in": 172800,
        "token_type": "Bearer",
        "resource_server": settings.gateway_id,
        "other_tokens": [],
    }


@pytest.mark.row("C-13")
def test_an_expired_token_is_refreshed_stored_and_printed_alone(
    settings: Settings, globus: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    store_expired(settings)
    grant = responses.matchers.urlencoded_params_matcher(
        {
            "grant_type": "refresh_token",
            "refresh_token": "the-refresh",
            "client_id": settings.client_id,
        }
    )
    globus.post(TOKEN_URL, json=refreshed(settings), match=[grant])
    assert run(settings, "get_access_token") == 0
    assert capsys.readouterr() == ("new-access\n", "")
    # `globus` would complain of a second request with no answer left
    globus.reset()
    assert run(settings, "get_access_token") == 0
    assert capsys.readouterr() == ("new-access\n", "")


# 401 is the status that globus_sdk's own published answers carry.
@pytest.mark.parametrize("status", [400, 401])
def test_an_ended_login_is_explained(
    settings: Settings,
    globus: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    store_expired(settings)
    globus.post(TOKEN_URL, status=status, json={"error": "invalid_grant"})
    assert run(settings, "get_access_token") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Your login has expired or was revoked (Globus answered {status} invalid_grant)" in err
    assert "\nRun: " in err
    assert "inference_auth_token.py authenticate --client-id=" in err


def test_an_unknown_client_is_a_matter_of_configuration(
    settings: Settings, globus: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
) -> None:
    store_expired(settings)
    globus.post(TOKEN_URL, status=401, json={"error": "invalid_client"})
    assert run(settings, "get_access_token") == 2
    assert f"does not know the client_id {settings.client_id}" in capsys.readouterr().err


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_outage_is_tried_once_more_and_explained(
    settings: Settings,
    globus: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    store_expired(settings)
    answer = globus.post(TOKEN_URL, status=status, body="<html>Busy</html>")
    assert run(settings, "get_access_token") == 5
    assert answer.call_count == 2
    err = capsys.readouterr().err
    assert f"Globus answered {status}" in err
    assert "Try again later" in err


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (requests.ConnectionError("refused"), "ConnectionError"),
        (requests.ConnectTimeout("no way out"), "ConnectTimeout"),
        (requests.exceptions.SSLError("unknown authority"), "SSLError"),
    ],
)
def test_no_network_is_explained(
    settings: Settings,
    globus: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    failure: requests.RequestException,
    name: str,
) -> None:
    store_expired(settings)
    globus.post(TOKEN_URL, body=failure)
    assert run(settings, "get_access_token") == 5
    err = capsys.readouterr().err
    assert err == f"error: No answer from Globus at https://auth.globus.org/ ({name}).\n"


def test_a_silent_globus_is_waited_for_20_s_unless_globus_sdk_is_told_otherwise(
    settings: Settings, globus: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    # `responses` adds to a request what it was sent with.
    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        waited.append(request.req_kwargs["timeout"])
        return 400, {"content-type": "application/json"}, '{"error": "invalid_grant"}'

    store_expired(settings)
    globus.add_callback(responses.POST, TOKEN_URL, answer)
    run(settings, "get_access_token")
    monkeypatch.setenv("GLOBUS_SDK_HTTP_TIMEOUT", "7")
    run(settings, "get_access_token")
    assert waited == [20.0, 7.0]


def test_a_refreshed_token_that_cannot_be_stored_is_explained(
    settings: Settings,
    globus: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store_expired(settings)
    file = Path(tokens_file(settings).filepath)

    def answer_and_replace_the_folder(
        request: requests.PreparedRequest,
    ) -> tuple[int, dict[str, str], str]:
        file.unlink()
        file.parent.rmdir()
        return (
            200,
            {"content-type": "application/json"},
            json.dumps(refreshed(settings)),
        )

    globus.add_callback(responses.POST, TOKEN_URL, answer_and_replace_the_folder)
    assert run(settings, "get_access_token") == 6
    assert "Cannot write the tokens" in capsys.readouterr().err


def test_a_damaged_file_is_explained(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(tokens_file(settings).filepath)
    file.write_text('{"data": ')
    assert run(settings, "get_access_token") == 6
    err = capsys.readouterr().err
    assert f"Cannot read {file}" in err
    assert "inference_auth_token.py authenticate --force" in err


def test_an_unknown_environment_of_globus_sdk_is_explained(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOBUS_SDK_ENVIRONMENT", "elsewhere")
    assert run(settings, "get_access_token") == 2
    assert 'Unrecognized environment "elsewhere"' in capsys.readouterr().err


def test_an_identity_token_from_the_future_is_a_matter_of_the_clock(
    settings: Settings,
    globus: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    in_an_hour = int(time.time()) + 3600
    claims = {"aud": settings.client_id, "sub": "me", "iat": in_an_hour, "exp": in_an_hour + 60}
    discovery = {
        "jwks_uri": "https://auth.globus.org/jwk.json",
        "id_token_signing_alg_values_supported": ["RS512"],
    }
    published = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    tokens = refreshed(settings) | {"id_token": jwt.encode(claims, key, "RS512")}
    globus.post(TOKEN_URL, json=tokens)
    globus.get("https://auth.globus.org/.well-known/openid-configuration", json=discovery)
    globus.get(discovery["jwks_uri"], json={"keys": [published]})
    monkeypatch.setattr("sys.stdin", io.StringIO("the-code\n"))
    assert run(settings, "authenticate") == 3
    err = capsys.readouterr().err
    assert "The token is not yet valid (iat)" in err
    assert "Is this machine's clock right?" in err


class TerminalWhereSomebodyPressesCtrlC(io.StringIO):
    """Interrupts instead of giving a line."""

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override] # as typeshed's own
        raise KeyboardInterrupt


def test_ctrl_c_at_the_prompt_is_no_traceback(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", TerminalWhereSomebodyPressesCtrlC())
    assert run(settings, "authenticate") == 130
    out, err = capsys.readouterr()
    assert "\nhttps://auth.globus.org/v2/oauth2/authorize?" in out
    assert err == "\nInterrupted.\n"


@pytest.mark.row("C-15")
@pytest.mark.parametrize(
    "action", ["get_access_token", "get_time_until_token_expiration", "revoke_access_token"]
)
def test_force_is_for_authenticate_alone(
    settings: Settings, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert run(settings, action, "--force") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"--force is not for {action}." in err
    assert "inference_auth_token.py authenticate --force" in err


@pytest.mark.row("C-14")
@pytest.mark.parametrize(
    ("units", "least", "most"),
    [("seconds", 7190, 7200), ("minutes", 119.8, 120), ("hours", 1.99, 2)],
)
def test_the_time_left_is_a_number_in_the_unit(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    units: str,
    least: float,
    most: float,
) -> None:
    store_expired(settings)
    stored = tokens_file(settings)
    data = stored.get_token_data(settings.gateway_id)
    assert data is not None
    data.expires_at_seconds = int(time.time()) + 7200
    stored.store_token_data_by_resource_server({settings.gateway_id: data})
    assert run(settings, "get_time_until_token_expiration", "--units", units) == 0
    out = capsys.readouterr().out.strip()
    assert least <= float(out) <= most
    assert len(out.partition(".")[2]) <= 2


@pytest.mark.row("C-14")
def test_the_time_left_of_an_expired_token_is_below_zero(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    store_expired(settings)
    assert run(settings, "get_time_until_token_expiration") == 0
    assert float(capsys.readouterr().out) < 0


def test_help_shows_examples_and_every_setting(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "token=$(python inference_auth_token.py get_access_token)" in text
    for name in inference_auth_token.SETTINGS:
        assert f"HOTNODE_AUTH_{name.upper()}" in text
    for action in inference_auth_token.ACTIONS:
        assert action in text
