"""Whatever stands in an input file: it is read, or refused with a mistake that is documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.input_file import InputFile
from batch.line import Line, parse_line
from batch.rules import ENDPOINTS, Rules
from batch.validation import Validated
from tests.support.batch_inputs import MODEL, documented_codes, good_lines, validated

#: The file is written anew in each example.
one_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

CODES = documented_codes()
RULES = Rules(most_line_bytes=5_000, most_lines=30, most_inputs=20)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=4,
)
BODIES = st.dictionaries(TEXTS.filter(lambda name: name != "stream"), JSON, max_size=2).map(
    lambda fields: {**fields, "model": MODEL}
)


@st.composite
def good_files(draw: st.DrawFn) -> bytes:
    """Files as people's programs write them: each in its own way."""
    url = draw(st.sampled_from(sorted(ENDPOINTS)))
    ids = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=6, unique=True))
    ascii_only, end = draw(st.booleans()), draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = []
    for custom_id in ids:
        values = {"custom_id": custom_id, "method": "POST", "url": url, "body": draw(BODIES)}
        fields = draw(st.permutations(list(values.items())))
        separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
        text = json.dumps(dict(fields), ensure_ascii=ascii_only, separators=separators)
        lines.append(text.encode())
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    last = draw(st.sampled_from([b"", end, end + b" " + end]))
    return mark + end.join(lines) + last


PIECES = st.binary(max_size=6) | st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\0",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"\\ud800",
        b"\xef\xbb\xbf",
        b"NaN",
        b"1e999",
        b'"stream": true,',
        b'"custom_id": "x",',
        b"[" * 200,
        b" " * 6_000,
    ]
)


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """Good files with some pieces cut out, put in, or said twice."""
    content = draw(good_files())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 40)))
        piece = draw(PIECES | st.just(content[start:end] * 2))
        content = content[:start] + piece + content[end:]
    return content


@pytest.mark.row("C-43")
@one_path
@given(good_files())
def test_good_files_are_taken_and_their_lines_found_again(tmp_path: Path, content: bytes) -> None:
    found = validated(tmp_path / "in.jsonl", content, Rules(most_inputs=1_000))
    assert found.errors == ()
    assert_readable(tmp_path / "in.jsonl", found)


@one_path
@given(mutated_files())
def test_spoiled_files_are_refused_or_read(tmp_path: Path, content: bytes) -> None:
    assert_refused_or_read(tmp_path / "in.jsonl", content)


@one_path
@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_rubbish_is_refused_or_read(tmp_path: Path, content: bytes) -> None:
    assert_refused_or_read(tmp_path / "in.jsonl", content)


@one_path
@given(st.data())
def test_a_file_cut_anywhere_is_told_unless_it_was_cut_between_lines(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = good_lines(4)
    content = whole[: data.draw(st.integers(0, len(whole)))]
    found = validated(tmp_path / "in.jsonl", content)
    codes = [error.code for error in found.errors]
    if not content:
        assert codes == ["empty_file"]
    elif content.endswith((b"\n", b"}}")) and json_at_end(content):
        assert codes == []
    else:
        assert codes == ["truncated"]


def json_at_end(content: bytes) -> bool:
    try:
        json.loads(content.splitlines()[-1])
    except ValueError:
        return False
    return True


def assert_refused_or_read(path: Path, content: bytes) -> None:
    found = validated(path, content, RULES)
    assert found.error_count >= len(found.errors)
    for error in found.errors:
        assert error.code in CODES
        assert error.line is None or 1 <= error.line <= content.count(b"\n") + 1
        json.dumps(error.to_wire()).encode()
        error.message.encode()
    if not found.error_count:
        assert_readable(path, found)


def assert_readable(path: Path, found: Validated) -> None:
    """Each line is found by the index, stands alone as a good line, and can be sent."""
    rules = Rules(model=found.model, endpoint=found.endpoint)
    ids = set()
    with InputFile.open(path) as file:
        lines = [raw for raw in file.lines(most_line_bytes=10_000) if raw.content.strip()]
        assert len(lines) == found.total == len(found.index)
        for raw in lines:
            assert file.line_at(*found.index.place(raw.number)) == raw.content
            line = parse_line(raw, rules)
            assert isinstance(line, Line)
            json.dumps(line.body, ensure_ascii=False, allow_nan=False).encode()
            ids.add(line.custom_id)
    assert len(ids) == found.total
