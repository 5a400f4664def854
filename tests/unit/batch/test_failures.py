"""Why lines failed, in a few words."""

from __future__ import annotations

import json

from batch.commands import failures


def error(number: int, code: str, message: str = "m") -> bytes:
    record = {"custom_id": f"line-{number}", "error": {"code": code, "message": message}}
    return json.dumps(record).encode()


def table(*lines: bytes) -> list[str]:
    return list(failures.as_lines(failures.of_lines(lines), of=len(lines)))


def test_the_most_frequent_codes_come_first_each_with_its_first_line() -> None:
    lines = [error(0, "rare", "once"), *(error(n, "often", f"words {n}") for n in range(1, 1_201))]
    assert table(*lines) == [
        "  why lines have no good answer:",
        "    1,200  often, as of line-1: words 1",
        "        1  rare, as of line-0: once",
    ]


def test_codes_beyond_a_few_are_counted_together() -> None:
    lines = [error(n, f"code-{n % 7}") for n in range(21)]
    assert table(*lines)[-1] == "    6  with 2 more codes"
    assert len(table(*lines)) == 7
    assert table(*(error(n, f"code-{n}") for n in range(6)))[-1] == "    1  with 1 more code"


def test_an_engine_with_a_code_for_every_line_fills_no_memory() -> None:
    found = failures.of_lines(error(n, f"code-{n}") for n in range(3_000))
    assert found.lines == 3_000
    assert len(found.codes) == 1_001
    assert (found.codes[0].code, found.codes[0].lines) == ("other codes", 2_000)


def test_words_of_others_are_short_and_move_no_cursor() -> None:
    [_, line] = table(error(1, "c", "\x1b[2J\n" + "long " * 1_000))
    assert "\x1b" not in line
    assert "\n" not in line
    assert line.endswith(" …")
    assert len(line) < 400


def test_lines_of_any_form_count() -> None:
    found = failures.of_lines(
        [b"no JSON", b"[]", b'{"custom_id":null,"error":"words"}', b"[" * 100_000, b'{"error":{}}']
    )
    [code] = found.codes
    assert (code.code, code.lines, code.message) == ("unknown", 5, "no message")


def test_no_lines_have_no_table() -> None:
    assert table() == []
