"""Input files: chat requests of one model, each with a question of its own and as many tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

URL = "/v1/chat/completions"


def write(path: Path, count: int, *, model: str, tokens: int) -> Path:
    """Write so many lines; each answer has exactly `tokens` tokens, so that work is the same."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            body = {
                "model": model,
                "messages": [{"role": "user", "content": f"Question {number}: how warm is it?"}],
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
            }
            line = {"custom_id": f"line-{number}", "method": "POST", "url": URL, "body": body}
            file.write(json.dumps(line) + "\n")
    return path


def bodies(path: Path) -> list[bytes]:
    """Return the requests of a file, ready to be sent."""
    return [json.dumps(json.loads(line)["body"]).encode() for line in _lines(path)]


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
