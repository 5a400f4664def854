"""Whom people reach when only the operators can help: for a model, for access, for more of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resource_server.api import refusals
from resource_server.api.errors import error_response
from resource_server.domain import errors
from resource_server.domain.limits import Measure

CONTACT = "inference-support@example.org"
OPERATORS_HELP = [
    pytest.param(errors.ModelNotFound(), marks=pytest.mark.row("C-39")),
    pytest.param(errors.Forbidden(), marks=pytest.mark.row("C-66")),
    errors.RateLimited(measure=Measure.REQUESTS, retry_after_s=1.0),
    errors.BackendUnavailable(),
    refusals.InternalError(),
]


@pytest.mark.row("C-71")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("error", OPERATORS_HELP)
def test_what_operators_can_help_with_says_where_they_are(
    settings: Any, error: errors.HotnodeError, path: str
) -> None:
    settings.CONTACT = CONTACT
    said = json.loads(error_response(error, path).content)["error"]["message"]
    assert said == f"{error.message} Contact: {CONTACT}"


@pytest.mark.parametrize("error", [errors.InvalidRequest(), errors.Unauthenticated()])
def test_the_caller_s_own_mistakes_bother_nobody(settings: Any, error: errors.HotnodeError) -> None:
    settings.CONTACT = CONTACT
    assert CONTACT not in error_response(error).content.decode()


def test_without_an_address_nothing_is_added() -> None:
    assert "Contact" not in error_response(errors.Forbidden()).content.decode()
