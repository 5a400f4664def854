"""Batches at each endpoint: what is asked, what is recorded, and how its tokens are counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batch.rules import ENDPOINTS
from tests.support.batch_runs import (
    BatchEngine,
    batch_engine_in,
    finished,
    json_lines,
    outcome,
    write_input,
)

LINES = 12
#: The line that the engine refuses, and the one that it refuses once.
REFUSED, REFUSED_ONCE = 4, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One endpoint: what a line's body has, what an answer says, and what it costs.

    `use` are tokens of the input, cached ones of these, tokens of the output, reasoning ones.
    """

    url: str
    asked: dict[str, Any]
    said: Callable[[dict[str, Any]], str]
    use: tuple[int, int, int, int]

    def line(self, number: int, text: str) -> str:
        """Return a line that asks this text."""
        body = json.loads(json.dumps(self.asked).replace("TEXT", text))
        line = {"custom_id": f"line-{number}", "method": "POST", "url": self.url}
        return json.dumps(line | {"body": {"model": "tiny", **body}})


KINDS = [
    Kind(
        url="/v1/chat/completions",
        asked={"messages": [{"role": "user", "content": "TEXT"}]},
        said=lambda body: body["choices"][0]["message"]["content"],
        use=(3, 0, 5, 0),
    ),
    Kind(
        url="/v1/completions",
        asked={"prompt": "TEXT", "max_tokens": 6},
        said=lambda body: body["choices"][0]["text"],
        use=(2, 0, 6, 0),
    ),
    Kind(
        url="/v1/embeddings",
        asked={"input": ["TEXT"]},
        said=lambda body: bytes(body["data"][0]["embedding"]).decode(),
        use=(4, 0, 0, 0),
    ),
    Kind(
        url="/v1/responses",
        asked={"input": "TEXT"},
        said=lambda body: body["output"][0]["content"][0]["text"],
        use=(7, 4, 9, 1),
    ),
    Kind(
        url="/v1/rerank",
        asked={"query": "TEXT", "documents": ["a", "b"]},
        said=lambda body: body["results"][0]["document"]["text"],
        # This engine says no more than how many there were in all.
        use=(11, 0, 0, 0),
    ),
]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[BatchEngine]:
    async with batch_engine_in(tmp_path) as running:
        yield running


def test_all_endpoints_are_tried() -> None:
    assert {kind.url for kind in KINDS} == ENDPOINTS


@pytest.mark.row("C-43")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.url)
async def test_each_line_of_an_endpoint_has_its_record_and_its_use(
    engine: BatchEngine, tmp_path: Path, kind: Kind
) -> None:
    texts = ["x" * (number + 1) for number in range(LINES)]
    texts[REFUSED], texts[REFUSED_ONCE] = "status:400", "once:500"
    lines = (kind.line(number, text) for number, text in enumerate(texts))
    path, folder = write_input(tmp_path / "in.jsonl", lines), tmp_path / "batch"
    assert await finished(folder, str(path), "--socket", str(engine.socket)) == 0

    good = [number for number in range(LINES) if number != REFUSED]
    output = json_lines(folder / "output.jsonl")
    assert [one["custom_id"] for one in output] == [f"line-{number}" for number in good]
    assert len({one["id"] for one in output}) == len(good)
    for number, one in zip(good, output, strict=True):
        assert set(one) == {"id", "custom_id", "response", "error"}
        assert set(one["response"]) == {"status_code", "request_id", "body"}
        assert one["response"]["status_code"] == 200
        assert one["error"] is None
        assert kind.said(one["response"]["body"]) == f"{texts[number]}!"
    (failed,) = json_lines(folder / "errors.jsonl")
    assert (failed["custom_id"], failed["response"]["status_code"]) == (f"line-{REFUSED}", 400)

    over = outcome(folder)
    assert (over["total"], over["completed"], over["failed"]) == (LINES, len(good), 1)
    names = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    counted = tuple(over["use"][name] for name in names)
    assert counted == tuple(tokens * len(good) for tokens in kind.use)
    asked = {text: 2 if text == "once:500" else 1 for text in texts}
    assert engine.asked == asked
