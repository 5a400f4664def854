"""Lines of batches' input files, good ones, and files made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from batch.input_file import InputFile
from batch.rules import Rules
from batch.validation import Validated, validate

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
MODEL = "org/model"


def request(custom_id: object = "a", **changes: object) -> dict[str, object]:
    """Return a good line's object, with changed fields; a field that is `...` is left out."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Is {water} [wet]?"}]}
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **changes}
    return {name: value for name, value in line.items() if value is not ...}


def body(**changes: object) -> dict[str, object]:
    """Return a good body with changed fields."""
    found = {"model": MODEL, "messages": [], **changes}
    return {name: value for name, value in found.items() if value is not ...}


def encoded(*lines: dict[str, object]) -> bytes:
    """Return lines as a file has them."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def good_lines(count: int) -> bytes:
    """Return so many good lines."""
    before, after = encoded(request("request-@")).split(b"@")
    return b"".join(b"%b%d%b" % (before, number, after) for number in range(count))


def validated(path: Path, content: bytes, rules: Rules | None = None) -> Validated:
    """Write a file and validate it."""
    path.write_bytes(content)
    with InputFile.open(path) as file:
        return validate(file, rules or Rules())


def documented_codes() -> frozenset[str]:
    """Return the codes of mistakes that the users' page explains."""
    page = Path(__file__).parents[2] / "docs" / "users" / "batches.md"
    _, _, table = page.read_text(encoding="utf-8").partition("| code |")
    table, _, _ = table.partition("\n\n")
    return frozenset(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
