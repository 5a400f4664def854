"""The quick way takes nothing that the long way refuses, and most of what is good."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.line import Line, parse_line
from batch.quick_look import QuickLook
from batch.rules import Rules
from batch.splitting import WholeLines, raw_line
from tests.support.batch_inputs import CHAT, MODEL, body, good_lines, request

RULES = Rules(model=MODEL, endpoint=CHAT, most_line_bytes=2_000, reserved=frozenset({"cache_salt"}))
GOOD = json.dumps(request())

#: Pieces of lines that look alike and are not: put together by chance.
FIELDS = st.sampled_from(
    [
        '"custom_id": "a"',
        '"custom_id": ""',
        '"custom_id": "\\ud83c\\udf0a"',
        '"custom_id": "\\ud83c"',
        '"custom_id": "\\\\ud83c\\udf0a"',
        '"custom\\u005fid": "b"',
        '"method": "POST"',
        '"m\\u0065thod": "POST"',
        f'"url": "{CHAT}"',
        '"url": null',
        f'"body": {json.dumps(body())}',
        f'"body": {json.dumps(body(stream=True))}',
        f'"body": {json.dumps(body(cache_salt=1))}',
        f'"body": {json.dumps(body(url="x", method="y"))}',
        f'"body": {json.dumps(body(n=[[[]]] * 60))}',
        '"body": {"model": null}',
        '"note": 1',
    ]
)
OFTEN_GOOD = st.permutations(GOOD[1:-1].split(", ", 3)).map(list)
LINES = (
    st.one_of(OFTEN_GOOD, st.lists(FIELDS, min_size=3, max_size=6))
    .map(lambda fields: "{" + ", ".join(fields) + "}")
    .map(str.encode)
)


def whole(lines: list[bytes]) -> WholeLines:
    return WholeLines(number=1, offset=0, data=b"".join(line + b"\n" for line in lines))


@given(st.lists(LINES, min_size=1, max_size=8))
def test_when_all_lines_are_taken_the_long_way_takes_them_alike(lines: list[bytes]) -> None:
    quick = QuickLook(RULES)
    if not quick.trusts(whole(lines), lines):
        return
    found = [quick.values(line) for line in lines]
    if None in found:
        return
    for line, values in zip(lines, found, strict=True):
        assert_taken(line, values)


@given(LINES)
def test_a_line_that_is_taken_alone_is_one_that_the_long_way_takes(line: bytes) -> None:
    quick = QuickLook(RULES)
    if quick.trusts_line(line) and (values := quick.values(line)) is not None:
        assert_taken(line, values)


def assert_taken(line: bytes, values: dict[str, object] | None) -> None:
    assert values is not None
    parsed = parse_line(raw_line(1, 0, line), RULES)
    assert isinstance(parsed, Line), parsed
    assert (parsed.custom_id, parsed.url, parsed.body) == (
        values["custom_id"],
        values["url"],
        values["body"],
    )


def test_what_people_write_is_taken() -> None:
    for content in (
        "Is {water} [wet]?",
        "\N{WATER WAVE} na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
    ):
        for ascii_only in (True, False):
            lines = [
                json.dumps(
                    request(str(number), body=body(messages=content, temperature=0.5)),
                    ensure_ascii=ascii_only,
                ).encode()
                for number in range(20)
            ]
            quick = QuickLook(RULES)
            assert quick.trusts(whole(lines), lines)
            assert all(quick.values(line) for line in lines)


@pytest.mark.parametrize("end", ["", "\r"])
def test_a_cr_is_no_reason_to_refuse(end: str) -> None:
    assert QuickLook(RULES).values(f"{GOOD}{end}".encode()) is not None


@pytest.mark.parametrize(
    "content",
    [
        f"{GOOD}x".encode(),
        json.dumps(request(body=body(cache_salt="a"))).encode(),
        f"{GOOD}{GOOD}".encode(),
        f"{GOOD}\r\r".encode(),
        f" {GOOD}".encode(),
        f"[{GOOD}]".encode(),
        b"",
        b"7",
        b"\xff",
        b"[" * 100_000,
        GOOD.replace("wet", "\\u0000wet").replace(MODEL, "another").encode(),
    ],
)
def test_what_is_doubtful_is_left_to_the_long_way(content: bytes) -> None:
    assert QuickLook(RULES).values(content) is None


def test_nothing_is_taken_while_the_model_is_open() -> None:
    nothing = json.dumps(request(url=None, body={"model": None})).encode()
    for line in (GOOD.encode(), nothing):
        assert QuickLook(Rules()).values(line) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"method"', '"url": 1, "method"'),
        ("wet", '", "body": 1, "x": "'),
        ("wet", "\\ud83c"),
        ("wet", "\\\\ud83c\\udf0a"),
        ("wet", "[" * 101),
        ("wet", "x" * 2_000),
        ("custom_id", "custom\\u005fid"),
    ],
)
def test_a_line_with_something_to_look_at_is_not_trusted(old: str, new: str) -> None:
    line = GOOD.replace(old, new, 1).encode()
    quick = QuickLook(RULES)
    assert not quick.trusts_line(line)
    assert not quick.trusts(whole([line]), [line])
    others = good_lines(3).splitlines()
    assert not quick.trusts(whole([*others, line]), [*others, line])
