from __future__ import annotations

import json

import pytest

from resource_server.api.errors import error_response
from resource_server.api.rate_limit_headers import rate_limit_headers
from resource_server.domain import errors
from resource_server.domain.limits import Measure, Scope, Standing

REQUESTS = Standing(measure=Measure.REQUESTS, limit=60, remaining=0, reset_s=59.2)
TOKENS = Standing(measure=Measure.TOKENS, limit=10_000, remaining=9_000, reset_s=6)


def limited(retry_after_s: float) -> errors.RateLimited:
    return errors.RateLimited(
        "Too many.",
        retry_after_s=retry_after_s,
        measure=Measure.REQUESTS,
        standings=(REQUESTS, TOKENS),
    )


def test_the_headers_are_openai_s():
    assert rate_limit_headers([REQUESTS, TOKENS]) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "10000",
        "x-ratelimit-remaining-tokens": "9000",
        "x-ratelimit-reset-tokens": "6s",
    }
    assert rate_limit_headers([]) == {}


def test_of_two_limits_on_one_thing_the_tighter_is_told():
    tighter = Standing(
        measure=Measure.TOKENS, limit=500, remaining=20, reset_s=57.6, scope=Scope.MODEL
    )
    for standings in ([TOKENS, tighter], [tighter, TOKENS]):
        assert rate_limit_headers(standings)["x-ratelimit-limit-tokens"] == "500"


def test_nobody_knows_when_places_are_free():
    places = Standing(measure=Measure.CONCURRENT, limit=4, remaining=3, reset_s=0)
    assert rate_limit_headers([places]) == {
        "x-ratelimit-limit-concurrent": "4",
        "x-ratelimit-remaining-concurrent": "3",
    }


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (0.2, "1s"), (1, "1s"), (59.5, "1m0s"), (360, "6m0s"), (3725.1, "1h2m6s")],
)
def test_durations_are_written_as_openai_does(seconds, written):
    standing = Standing(measure=Measure.REQUESTS, limit=1, remaining=0, reset_s=seconds)
    assert rate_limit_headers([standing])["x-ratelimit-reset-requests"] == written


@pytest.mark.row("A-57")
@pytest.mark.parametrize(
    ("wait_s", "seconds", "milliseconds", "retry"),
    [
        (0.0213, "1", "22", "true"),
        (1.0, "1", "1000", "true"),
        (12.4, "13", "12400", "true"),
        # Clients would not wait that long, and repeat too early instead.
        (600.0, "600", "600000", "false"),
    ],
)
def test_a_refusal_says_when_to_come_back(wait_s, seconds, milliseconds, retry):
    response = error_response(limited(wait_s))
    assert response.status_code == 429
    assert response["Retry-After"] == seconds
    assert response["retry-after-ms"] == milliseconds
    assert response["x-should-retry"] == retry
    assert response["x-ratelimit-remaining-requests"] == "0"
    assert response["x-ratelimit-remaining-tokens"] == "9000"
    assert json.loads(response.content)["error"] == {
        "message": "Too many.",
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
        "param": None,
    }
