"""The scene of a batch: a file of questions by the unmodified openai SDK, and its answers."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import openai
from openai.types import Batch

from lab.question import EXPECTED, QUESTION
from lab.slurm_demo.scenes import Show
from lab.slurm_demo.stage import HOT

LINES = 40
#: It waits for the engine only; a busy machine has long queues all the same (seconds).
OVER_WITHIN_S = 240.0
_LOOK_S = 0.5
_UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")


def questions(show: Show) -> Path:
    """Write the file of questions, and return where it is."""
    body = {
        "model": HOT,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 40,
    }
    lines = [
        {"custom_id": f"q{at}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for at in range(LINES)
    ]
    path = show.running.folder / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


async def batch(show: Show) -> bool:
    """Upload questions, watch the batch, and read the answers."""
    show.say("batch", f"{LINES} questions for {HOT} are uploaded as a file, by the openai SDK")
    began = time.monotonic()
    async with openai.AsyncOpenAI(
        base_url=show.running.base_url(), api_key=show.token, max_retries=0
    ) as opened:
        uploaded = await opened.files.create(file=questions(show), purpose="batch")
        made = await opened.batches.create(
            input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        now = await _over(opened, made.id)
        if now.output_file_id is None:
            show.say("batch", f"{made.id} is {now.status}, without answers")
            return False
        content = (await opened.files.content(now.output_file_id)).text
    answers = [json.loads(line) for line in content.splitlines()]
    right = {one["custom_id"] for one in answers if EXPECTED in _text(one)}
    took_s = time.monotonic() - began
    show.say(
        "batch", f"it is {now.status}: {len(right)} of {LINES} answers are right, {took_s:.1f} s"
    )
    return len(answers) == len(right) == LINES


async def _over(opened: openai.AsyncOpenAI, batch_id: str) -> Batch:
    async with asyncio.timeout(OVER_WITHIN_S):
        while True:
            now = await opened.batches.retrieve(batch_id)
            if now.status not in _UNDER_WAY:
                return now
            await asyncio.sleep(_LOOK_S)


def _text(answer: dict[str, dict[str, dict[str, list[dict[str, dict[str, str]]]]]]) -> str:
    return answer["response"]["body"]["choices"][0]["message"]["content"]
