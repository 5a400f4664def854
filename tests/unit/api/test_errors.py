from __future__ import annotations

import json
from typing import Any

import pytest
from globus_sdk import gare

from resource_server.api.errors import error_response
from resource_server.domain import errors
from resource_server.domain.limits import Measure


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.Unauthenticated(), 401, "authentication_error", "invalid_api_key"),
        (errors.Forbidden(), 403, "permission_error", "permission_denied"),
        (errors.ModelNotFound(), 404, "not_found_error", "model_not_found"),
        (errors.ClusterNotFound(), 404, "not_found_error", "cluster_not_found"),
        (errors.InvalidRequest(), 400, "invalid_request_error", "invalid_request"),
        (errors.ReservedField(), 400, "invalid_request_error", "reserved_field"),
        (errors.PayloadTooLarge(limit_bytes=1), 413, "invalid_request_error", "payload_too_large"),
        (errors.IdentityServiceUnavailable(), 503, "service_unavailable_error", None),
        (errors.ModelNotRunning(), 503, "service_unavailable_error", "model_not_running"),
        (errors.BackendTimeout(), 504, "timeout_error", "backend_timeout"),
        (errors.AnswerTooLarge(), 502, "upstream_error", "answer_too_large"),
        (errors.HotnodeError(), 500, "server_error", "error"),
    ],
)
def test_every_error_has_openai_s_envelope(error, status, kind, code):
    response = error_response(error)
    body = json.loads(response.content)["error"]
    assert response.status_code == status
    assert set(body) == {"message", "type", "param", "code"}
    assert body["type"] == kind
    assert body["code"] == (code or error.code)
    assert body["message"] == error.message


def test_every_kind_of_error_is_rendered():
    def below(kind):
        return [kind, *(deeper for sub in kind.__subclasses__() for deeper in below(sub))]

    public = [
        kind for kind in below(errors.HotnodeError) if not issubclass(kind, errors.OperatorError)
    ]
    facts: dict[type[errors.HotnodeError], dict[str, Any]] = {
        errors.PayloadTooLarge: {"limit_bytes": 1},
        errors.RateLimited: {"retry_after_s": 1.0, "measure": Measure.REQUESTS},
    }
    for kind in public:
        error = kind(**facts.get(kind, {}))
        assert error.message
        assert error_response(error).status_code >= 400


def test_a_wait_that_helps_is_announced():
    response = error_response(errors.ModelNotRunning())
    assert response["Retry-After"] == "30"
    assert response["x-should-retry"] == "true"


def test_a_repetition_that_does_not_help_is_discouraged():
    response = error_response(errors.BackendTimeout())
    assert response["x-should-retry"] == "false"
    assert "Retry-After" not in response


def test_a_refused_token_names_the_scheme():
    assert error_response(errors.Unauthenticated())["WWW-Authenticate"] == "Bearer"


@pytest.mark.row("C-19")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_login_that_is_needed_is_described_beside_either_envelope(path):
    error = errors.ReauthenticationRequired("Again.", policies=("p",), domains=("anl.gov",))
    response = error_response(error, path)
    body = json.loads(response.content)
    assert response.status_code == 403
    assert body["error"]["code"] == "reauthentication_required"
    assert "insufficient_user_authentication" in response["WWW-Authenticate"]
    wanted = gare.to_gare(body).authorization_parameters
    assert (wanted.session_required_policies, wanted.session_required_single_domain) == (
        ["p"],
        ["anl.gov"],
    )
    assert (wanted.session_message, wanted.prompt) == ("Again.", "login")


def test_what_is_not_needed_of_a_login_is_left_out():
    body = json.loads(error_response(errors.ReauthenticationRequired("Again.")).content)
    assert body["authorization_parameters"] == {"session_message": "Again.", "prompt": "login"}


@pytest.mark.parametrize(
    ("path", "anthropic_s"),
    [
        ("/v1/messages", True),
        ("/p/OPEN-30-1/openai/v1/messages/count_tokens", True),
        ("/resource_server/local/vllm/v1/messages", True),
        ("/v1/models/open/chat/v1/messages", False),
        ("/v1/chat/completions", False),
        ("", False),
    ],
)
def test_anthropic_s_envelope_is_for_its_routes_alone(path, anthropic_s):
    said = json.loads(error_response(errors.ModelNotFound(), path).content)
    assert ("type" in said) is anthropic_s
