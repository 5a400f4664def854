from __future__ import annotations

from dataclasses import replace

import pytest

from resource_server.api.json_body import JsonBody
from resource_server.domain.catalog import StreamUsage
from resource_server.services.stream_options import NOTHING_ASKED, UsageView, usage_options
from tests.support.catalogs import FRAMEWORKS

VLLM = FRAMEWORKS["vllm"]
FINAL = replace(VLLM, stream_usage=StreamUsage.FINAL)
NONE = replace(VLLM, stream_usage=StreamUsage.NONE)
BOTH = {"include_usage": True, "continuous_usage_stats": True}


def asking(options: str = "") -> JsonBody:
    return JsonBody(b'{"model": "a/b", "stream": true%s}' % options.encode())


@pytest.mark.parametrize(
    ("options", "final", "continuous"),
    [
        ("", False, False),
        (', "stream_options": null', False, False),
        (', "stream_options": {"include_usage": true}', True, False),
        (', "stream_options": {"continuous_usage_stats": true}', False, False),
        (', "stream_options": {"include_usage": true, "continuous_usage_stats": true}', True, True),
    ],
)
def test_the_engine_is_asked_for_all_and_the_caller_sees_what_it_asked(options, final, continuous):
    made = usage_options(asking(options), "chat/completions", VLLM)
    assert made.values == {"stream_options": BOTH}
    assert made.view == UsageView(final=final, continuous=continuous)


def test_an_engine_that_says_it_at_the_end_is_asked_for_that():
    made = usage_options(asking(), "completions", FINAL)
    assert made.values == {"stream_options": {"include_usage": True}}
    assert made.view == UsageView(final=False, continuous=True)


def test_further_options_stay():
    made = usage_options(asking(', "stream_options": {"x": 1}'), "completions", FINAL)
    assert made.values == {"stream_options": {"x": 1, "include_usage": True}}


@pytest.mark.parametrize(
    ("route", "framework", "options"),
    [
        ("responses", VLLM, ""),
        ("messages", VLLM, ""),
        ("chat/completions", NONE, ""),
        ("chat/completions", VLLM, ', "stream_options": 3'),
        ("chat/completions", VLLM, ', "stream_options": {"include_usage": "yes"}'),
    ],
)
def test_nothing_is_asked_where_there_is_nothing_to_ask_for(route, framework, options):
    assert usage_options(asking(options), route, framework) is NOTHING_ASKED
