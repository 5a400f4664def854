"""Lines that name images by address: found as the gateway finds them in callers' requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.line import Line, parse_line
from batch.line_error import LineError
from batch.quick_look import QuickLook
from batch.remote_images import FIELDS, KEYS, address_in
from batch.rules import Rules
from batch.splitting import raw_line
from resource_server.adapters.remote_images import places
from tests.support.batch_inputs import CHAT, MODEL, body, request

RULES = Rules(model=MODEL, endpoint=CHAT)
ADDRESS = "https://example.org/cat.png"
DATA = "data:image/png;base64,AAAA"


def line(part: Any, **changes: Any) -> bytes:
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]
    return json.dumps(request(body=body(messages=messages, **changes))).encode()


def parsed(content: bytes, rules: Rules = RULES) -> Line | tuple[LineError, ...]:
    return parse_line(raw_line(7, 0, content), rules)


REMOTE = [
    {"type": "image_url", "image_url": {"url": ADDRESS}},
    {"type": "image_url", "image_url": {"url": "http://10.0.0.1/x"}},
    {"type": "image_url", "image_url": ADDRESS},
    {"type": "input_image", "image_url": "file:///etc/passwd"},
    {"type": "video_url", "video_url": {"url": ADDRESS}},
    {"type": "audio_url", "audio_url": ADDRESS},
]


@pytest.mark.parametrize("part", REMOTE)
def test_a_line_that_names_an_image_by_address_is_refused_with_its_number(part: Any) -> None:
    content = line(part)
    assert QuickLook(RULES).values(content) is None
    found = parsed(content)
    assert isinstance(found, tuple)
    assert [(error.code, error.line, error.param) for error in found] == [
        ("remote_image", 7, "body.messages")
    ]
    assert "data: URL" in found[0].message


def test_no_spelling_of_the_field_hides_it() -> None:
    content = line(REMOTE[0]).replace(b'"image_url": {', b'"image\\u005furl": {')
    assert not QuickLook(RULES).trusts_line(content)
    assert isinstance(parsed(content), tuple)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": DATA}},
        {"type": "image_url", "image_url": {"url": DATA.replace("data", "DATA")}},
        {"type": "input_image", "image_url": DATA},
        {"type": "image_url", "image_url": {"url": None, "detail": ADDRESS}},
        {"type": "text", "text": f'Is "image_url": "{ADDRESS}" right?'},
    ],
)
def test_an_image_that_holds_its_data_is_taken_both_ways(part: Any) -> None:
    assert QuickLook(RULES).values(line(part)) is not None
    assert isinstance(parsed(line(part)), Line)


def test_what_the_engine_does_not_read_may_say_anything() -> None:
    tool = {"type": "function", "function": {"parameters": {"image_url": ADDRESS}}}
    assert isinstance(parsed(line({}, tools=[tool], metadata={"image_url": ADDRESS})), Line)


@pytest.mark.parametrize("part", REMOTE)
def test_an_engine_that_opens_addresses_may_have_them(part: Any) -> None:
    rules = Rules(model=MODEL, endpoint=CHAT, remote_images=True)
    assert QuickLook(rules).values(line(part)) is not None
    assert isinstance(parsed(line(part), rules), Line)


NAMED = st.sampled_from([ADDRESS, DATA, "", None, 3]) | st.sampled_from(
    [{"url": ADDRESS}, {"url": DATA}, {"url": {"image_url": ADDRESS}}, {"url": 1}]
)
VALUES = st.recursive(
    NAMED,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYS, "content", "url"]), inner | NAMED, max_size=3)
    ),
    max_leaves=8,
)


def test_it_looks_where_the_gateway_does() -> None:
    assert places.FIELDS == FIELDS
    assert ("image_url", *places.OTHER_KEYS) == KEYS


@given(st.dictionaries(st.sampled_from([*FIELDS, "tools"]), VALUES, max_size=3))
def test_it_is_what_the_gateway_finds(found: dict[str, Any]) -> None:
    named = {
        (field, place.url)
        for field in places.FIELDS
        for place in places.places_in(field, found.get(field))
    }
    told = address_in(found)
    assert told in named if named else told is None
