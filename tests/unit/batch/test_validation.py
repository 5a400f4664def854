"""A whole file checked: good ones, and one mistake of each kind."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from pathlib import Path

import pytest
from typing_extensions import override

from batch.custom_ids import CustomIds
from batch.input_file import InputFile
from batch.rules import Rules
from batch.validation import validate
from tests.support.batch_inputs import (
    CHAT,
    EMBEDDINGS,
    MODEL,
    body,
    documented_codes,
    encoded,
    good_lines,
    request,
    validated,
)

MARK = b"\xef\xbb\xbf"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where an input may be written."""
    return tmp_path / "in.jsonl"


def told(path: Path, content: bytes, rules: Rules | None = None) -> list[tuple[int | None, str]]:
    """Return line and code of each mistake."""
    found = validated(path, content, rules)
    assert found.error_count == len(found.errors)
    return [(error.line, error.code) for error in found.errors]


@pytest.mark.row("C-43")
@pytest.mark.parametrize(
    "content",
    [
        good_lines(500),
        good_lines(500)[:-1],
        good_lines(500).replace(b"\n", b"\r\n"),
        MARK + good_lines(500),
        MARK + good_lines(500).replace(b"\n", b"\r\n")[:-2],
        good_lines(500) + b"\n  \n\r\n\t",
        good_lines(500).replace(b"water", "\N{WATER WAVE}".encode()),
        good_lines(500).replace(b"water", rb"\ud83c\udf0a"),
        good_lines(500).replace(b"water", b'", "url": "x", "body": "'),
        good_lines(500).replace(b"\n", b"  \n"),
    ],
)
def test_a_good_file(path: Path, content: bytes) -> None:
    found = validated(path, content)
    assert (found.errors, found.error_count) == ((), 0)
    assert (found.total, found.model, found.endpoint) == (500, MODEL, CHAT)
    assert (found.bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert len(found.index) == 500
    with InputFile.open(path) as file:
        for number in (1, 2, 250, 500):
            line = json.loads(file.line_at(*found.index.place(number)))
            assert line["custom_id"] == f"request-{number - 1}"


GOOD = good_lines(3)
TWICE = [(line, "invalid_json") for line in (4, 5, 6)]


@pytest.mark.row("C-43")
@pytest.mark.parametrize(
    ("content", "mistakes"),
    [
        (b"", [(None, "empty_file")]),
        (MARK, [(None, "empty_file")]),
        (b"\n \r\n", [(None, "empty_file")]),
        (GOOD + b"\n\n" + encoded(request()), [(4, "empty_line"), (5, "empty_line")]),
        (b"\n" + GOOD, [(1, "empty_line")]),
        (GOOD + b"{\n" + encoded(request()), [(4, "invalid_json")]),
        (GOOD + encoded(request(method=...))[:-1], [(4, "invalid_method")]),
        (GOOD + encoded(request())[:-2], [(4, "truncated")]),
        (GOOD + '{"custom_id": "\N{WATER WAVE}'.encode()[:-1], [(4, "truncated")]),
        (GOOD + b"[]", [(4, "invalid_json")]),
        (GOOD + b"\xff\n", [(4, "invalid_encoding")]),
        (GOOD + b"\0" * 4096, [(4, "invalid_encoding")]),
        (
            encoded(request()).decode().encode("utf-16-le"),
            [(1, "invalid_encoding"), (2, "invalid_encoding")],
        ),
        (GOOD + encoded(request("request-1")), [(4, "duplicate_custom_id")]),
        (GOOD + encoded(request(url="/v1/completions")), [(4, "mixed_urls")]),
        (GOOD + encoded(request(body=body(model="other"))), [(4, "mismatched_model")]),
        (GOOD + encoded(request(body=body(stream=True))), [(4, "streaming_not_supported")]),
        (GOOD + GOOD.replace(b"request-", b'x", "custom_id": "y-'), TWICE),
    ],
)
def test_a_mistake_is_told_with_its_line(
    path: Path, content: bytes, mistakes: list[tuple[int | None, str]]
) -> None:
    assert told(path, content) == mistakes


def test_the_message_names_the_first_line_with_the_same_id(path: Path) -> None:
    same = request("same")
    found = validated(path, good_lines(2) + encoded(same, same, same))
    assert [error.message for error in found.errors] == [
        "custom_id 'same' is that of line 3, too"
    ] * 2


def test_the_first_hundred_mistakes_are_listed_and_all_are_counted(path: Path) -> None:
    found = validated(path, encoded(*[request("same")] * 1_001) + b"{\n" * 1_000)
    assert (found.total, found.error_count, len(found.errors)) == (2_001, 2_000, 100)
    assert [error.line for error in found.errors] == list(range(2, 102))


def test_the_first_good_line_settles_what_the_batch_is_for(path: Path) -> None:
    content = encoded(
        request("a", body=body(model="")),
        request("b", url=EMBEDDINGS, body={"model": "x", "input": "y"}),
        request("c"),
    )
    found = validated(path, content)
    assert (found.model, found.endpoint) == ("x", EMBEDDINGS)
    assert [(error.line, error.code) for error in found.errors] == [
        (1, "missing_model"),
        (3, "mixed_urls"),
        (3, "mismatched_model"),
    ]


def test_rules_name_model_and_endpoint(path: Path) -> None:
    rules = Rules(model="other", endpoint=EMBEDDINGS)
    assert told(path, good_lines(1), rules) == [(1, "mixed_urls"), (1, "mismatched_model")]
    assert told(path, good_lines(1), Rules(model=MODEL, endpoint=CHAT)) == []


@pytest.mark.row("C-40")
@pytest.mark.parametrize(("most", "mistakes"), [(100, []), (99, [(100, "too_many_lines")])])
def test_lines_are_bounded(path: Path, most: int, mistakes: list[tuple[int, str]]) -> None:
    rules = Rules(most_lines=most)
    assert told(path, good_lines(100), rules) == mistakes
    assert told(path, good_lines(100) + b"\n" * 500, rules) == mistakes


def test_blank_lines_before_one_line_too_many_are_no_news(path: Path) -> None:
    content = good_lines(10) + b"\n" * 1_000 + encoded(request())
    assert told(path, content, Rules(most_lines=100)) == [(1_011, "too_many_lines")]


def test_bytes_are_bounded(path: Path) -> None:
    size = len(good_lines(10))
    assert told(path, good_lines(10), Rules(most_bytes=size)) == []
    assert told(path, good_lines(10), Rules(most_bytes=size - 1)) == [(None, "file_too_large")]


def test_one_line_that_is_too_long_spoils_no_other(path: Path) -> None:
    long = encoded(request("long", body=body(messages="x" * 13_000_000)))
    found = validated(path, good_lines(2) + long + long[:-1] + b"\n" + encoded(request("last")))
    assert [(error.line, error.code) for error in found.errors] == [
        (3, "line_too_long"),
        (4, "line_too_long"),
    ]
    assert str(len(long) - 1) in found.errors[0].message
    with InputFile.open(path) as file:
        assert b'"last"' in file.line_at(*found.index.place(5))


def test_a_line_of_ten_megabytes_is_taken(path: Path) -> None:
    most = Rules().most_line_bytes
    around = len(encoded(request("long", body=body(messages="")))) - 1
    long = encoded(request("long", body=body(messages="x" * (most - around))))
    assert len(long) - 1 == most
    assert told(path, good_lines(2) + long + encoded(request("last"))) == []
    assert told(path, good_lines(2) + long.replace(b"xxx", b"xxxx", 1)) == [(3, "line_too_long")]


def embedding(custom_id: str, given: object) -> dict[str, object]:
    return request(custom_id, url=EMBEDDINGS, body={"model": MODEL, "input": given})


def test_embedding_inputs_are_counted_over_all_lines(path: Path) -> None:
    content = encoded(
        embedding("a", "text"),
        embedding("b", ["one", "two"]),
        embedding("c", [1, 2, 3]),
        embedding("d", [[1, 2], [3, 4], [5]]),
    )
    assert validated(path, content).inputs == 7
    assert told(path, content, Rules(most_inputs=7)) == []
    assert told(path, content, Rules(most_inputs=6)) == [(4, "too_many_inputs")]
    assert told(path, content, Rules(most_inputs=1)) == [(2, "too_many_inputs")]


@pytest.mark.parametrize(
    ("rules", "most"), [(Rules(), 150_000), (Rules(most_lines=200_000), 200_000)]
)
def test_there_may_be_as_many_inputs_as_lines(path: Path, rules: Rules, most: int) -> None:
    texts = ["x"] * (most - 1)
    content = encoded(embedding("a", "text"), embedding("b", texts))
    assert told(path, content, rules) == []
    content += encoded(embedding("c", "one more"))
    assert told(path, content, rules) == [(3, "too_many_inputs")]


def test_fewer_lines_may_have_as_many_inputs_as_usual(path: Path) -> None:
    content = encoded(embedding("a", ["x"] * 150_000))
    assert told(path, content, Rules(most_lines=1)) == []


def test_inputs_of_other_endpoints_are_not_counted(path: Path) -> None:
    content = encoded(request(body=body(input=["x"] * 10)))
    assert validated(path, content, Rules(most_inputs=5)).inputs == 0


class SameHash(str):
    """A `custom_id` whose hash all the others have as well."""

    __slots__ = ()

    @override
    def __hash__(self) -> int:
        return 1


def test_ids_that_only_share_a_hash_are_different(path: Path) -> None:
    found = validated(path, encoded(*map(request, ("a", "b", "c", "b", "a", "c"))))
    with InputFile.open(path) as file:
        ids = CustomIds(file, found.index)
        given = enumerate(map(SameHash, ("a", "b", "c", "b", "a", "c")), 1)
        assert [ids.first_with(one, number) for number, one in given] == [1, 2, 3, 2, 1, 3]
        assert ids.new(SameHash("d"), 7) is False


def test_what_is_told_can_be_sent(path: Path) -> None:
    found = validated(path, good_lines(2) + b"{")
    assert json.loads(json.dumps(found.to_wire())) == {
        "valid": False,
        "total": 3,
        "model": MODEL,
        "endpoint": CHAT,
        "bytes": found.bytes,
        "sha256": found.sha256,
        "inputs": 0,
        "error_count": 1,
        "errors": [{**found.errors[0].to_wire(), "code": "truncated", "line": 3, "param": None}],
    }


def test_a_file_that_grows_is_refused_for_that_alone(path: Path) -> None:
    path.write_bytes(good_lines(5_000)[:-20])
    appended, enough = threading.Event(), threading.Event()

    def append() -> None:
        with path.open("ab", buffering=0) as file:
            while not enough.is_set():
                file.write(good_lines(1))
                appended.set()

    with InputFile.open(path) as file:
        writer = threading.Thread(target=append)
        writer.start()
        try:
            assert appended.wait(10)
            found = validate(file, Rules())
        finally:
            enough.set()
            writer.join(10)
    assert [error.code for error in found.errors] == ["input_changed"]
    assert (found.total, found.sha256) == (0, "")


def test_a_file_that_shrinks_is_refused_for_that_alone(path: Path) -> None:
    path.write_bytes(good_lines(5_000))
    with InputFile.open(path) as file:
        os.truncate(path, 1_001)
        found = validate(file, Rules())
    assert [(error.code, error.line) for error in found.errors] == [("input_changed", None)]


def test_a_file_that_is_replaced_is_refused(path: Path) -> None:
    path.write_bytes(good_lines(10))
    other = path.with_name("other")
    other.write_bytes(good_lines(10))
    with InputFile.open(path) as file:
        other.replace(path)
        found = validate(file, Rules())
    assert [error.code for error in found.errors] == ["input_changed"]


@pytest.mark.parametrize("page", ["users", "developers"])
def test_people_are_told_of_all_codes(page: str) -> None:
    root = Path(__file__).parents[3]
    sources = ("examination", "input_file", "json_line", "line", "validation")
    code = r'code(?:: str)? ?= ?"(\w+)"|_refuse\(\s*"(\w+)"|(?:return|yield) "(\w+)", '
    found = {
        "".join(match)
        for name in sources
        for match in re.findall(code, (root / "batch" / f"{name}.py").read_text())
    }
    assert len(found) > 15
    assert found == documented_codes()
    text = (root / "docs" / page / "batches.md").read_text()
    assert [code for code in sorted(found) if f"`{code}`" not in text] == []
