"""Files and Batches of the openai SDK for Python, each of their methods, blocking and async."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import openai
import report
from report import Offer

OVER = ("completed", "failed", "expired", "cancelled")
WAIT_S = 60


def client(offer: Offer, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=offer["base_url"], api_key=more.get("key", offer["key"]), max_retries=0
    )


def lines(offer: Offer, count: int = 5) -> bytes:
    body = {"model": offer["model"], "messages": [{"role": "user", "content": "Hello"}]}
    line = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    texts = (json.dumps({"custom_id": f"q-{number}"} | line) for number in range(count))
    return "".join(f"{text}\n" for text in texts).encode()


def upload(opened: openai.OpenAI, content: bytes) -> Any:
    return opened.files.create(file=("in.jsonl", content), purpose="batch")


def a_file(offer: Offer) -> object:
    """Every method of Files."""
    content = lines(offer)
    with client(offer) as opened, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "named.jsonl")
        path.write_bytes(content)
        made = opened.files.create(file=path, purpose="batch")
        found = opened.files.retrieve(made.id)
        waited = opened.files.wait_for_processing(made.id)
        read = opened.files.content(made.id)
        copy = Path(folder, "copy")
        with opened.files.with_streaming_response.content(made.id) as streamed:
            streamed.stream_to_file(copy)
        raw = opened.files.with_raw_response.content(made.id)
        gone = opened.files.delete(made.id)
        return {
            "names": [made.filename, found.filename],
            "status": waited.status,
            "purpose": found.purpose,
            "same": [
                found.bytes == len(content),
                read.read() == content,
                copy.read_bytes() == content,
                raw.content == content,
            ],
            "request_id": raw.headers["x-request-id"],
            "deleted": gone.deleted,
        }


def files_in_pages(offer: Offer) -> object:
    with client(offer) as opened:
        made = [upload(opened, b"%d" % number).id for number in range(3)]
        pages = [file.id for file in opened.files.list(limit=1, order="asc", purpose="batch")]
        usual = [file.id for file in opened.files.list()]
        for file_id in made:
            opened.files.delete(file_id)
        return {
            "in_order": [one for one in pages if one in made] == made,
            "all": set(made) <= set(usual),
        }


def a_file_with_an_end(offer: Offer) -> object:
    with client(offer) as opened:
        made = opened.files.create(
            file=io.BytesIO(b"{}"),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 7200},
        )
        assert made.expires_at is not None
        return made.expires_at - made.created_at


def waited(opened: openai.OpenAI, batch_id: str) -> Any:
    until = time.monotonic() + WAIT_S
    while (batch := opened.batches.retrieve(batch_id)).status not in OVER:
        if time.monotonic() > until:
            raise TimeoutError(batch.status)
        time.sleep(0.1)
    return batch


def a_batch(offer: Offer) -> object:
    """From the upload to the output, as OpenAI's documentation does it."""
    with client(offer) as opened:
        made = opened.batches.create(
            input_file_id=upload(opened, lines(offer)).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"run": "7"},
        )
        batch = waited(opened, made.id)
        output = opened.files.content(batch.output_file_id).text
        raw = opened.batches.with_raw_response.retrieve(made.id)
        return {
            "first": made.status,
            "last": batch.status,
            "counts": batch.request_counts.to_dict(),
            "ids": [json.loads(line)["custom_id"] for line in output.splitlines()],
            "errors": batch.error_file_id,
            "metadata": batch.metadata,
            "raw": raw.parse().id == made.id and raw.headers["x-request-id"][:4],
        }


def batches_in_pages(offer: Offer) -> object:
    with client(offer) as opened:
        file_id = upload(opened, lines(offer)).id
        made = [
            opened.batches.create(
                input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
            ).id
            for _ in range(2)
        ]
        for batch_id in made:
            waited(opened, batch_id)
        pages = [batch.id for batch in opened.batches.list(limit=1)]
        usual = opened.batches.list()
        return {
            "newest_first": pages[:2] == made[::-1],
            "usual": [batch.id for batch in usual.data][:2] == made[::-1],
            "class": type(usual).__name__,
        }


def a_batch_that_is_cancelled(offer: Offer) -> object:
    with client(offer) as opened:
        made = opened.batches.create(
            input_file_id=upload(opened, lines(offer, 1_000)).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        told = opened.batches.cancel(made.id)
        batch = waited(opened, made.id)
        return {"told": told.status, "last": batch.status, "at": batch.cancelled_at is not None}


def a_batch_with_a_mistake(offer: Offer) -> object:
    content = lines(offer, 2).replace(b"q-1", b"q-0")
    with client(offer) as opened:
        made = opened.batches.create(
            input_file_id=upload(opened, content).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        batch = waited(opened, made.id)
        return {"last": batch.status, "errors": [one.to_dict() for one in batch.errors.data]}


def the_same_without_blocking(offer: Offer) -> object:
    return asyncio.run(_all_async(offer))


async def _all_async(offer: Offer) -> object:
    async with openai.AsyncOpenAI(
        base_url=offer["base_url"], api_key=offer["key"], max_retries=0
    ) as opened:
        file = await opened.files.create(file=("in.jsonl", lines(offer)), purpose="batch")
        found = await opened.files.retrieve(file.id)
        waited_for = await opened.files.wait_for_processing(file.id)
        files = [one.id async for one in opened.files.list(limit=2)]
        made = await opened.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        batch = await opened.batches.retrieve(made.id)
        async with asyncio.timeout(WAIT_S) if hasattr(asyncio, "timeout") else opened:
            while batch.status not in OVER:
                await asyncio.sleep(0.1)
                batch = await opened.batches.retrieve(made.id)
        batches = [one.id async for one in opened.batches.list(limit=2)]
        assert batch.output_file_id is not None
        content = await opened.files.content(batch.output_file_id)
        async with opened.files.with_streaming_response.content(batch.output_file_id) as streamed:
            pieces = b"".join([piece async for piece in streamed.iter_bytes()])
        gone = await opened.files.delete(file.id)
        return {
            "file": found.id == waited_for.id == file.id and file.id in files,
            "listed": made.id in batches,
            "last": batch.status,
            "lines": len(content.text.splitlines()),
            "same": pieces == content.content,
            "deleted": gone.deleted,
        }


def another_s_file(offer: Offer) -> object:
    with client(offer) as opened, client(offer, key=offer["other_key"]) as other:
        return other.files.retrieve(upload(opened, b"{}").id)


def a_purpose_that_is_none(offer: Offer) -> object:
    with client(offer) as opened:
        return opened.files.create(file=("in.jsonl", b"{}"), purpose="assistants")


def no_such_batch(offer: Offer) -> object:
    with client(offer) as opened:
        return opened.batches.retrieve("batch_none")


def a_model_without_batches(offer: Offer) -> object:
    content = lines(offer | {"model": offer["unbatched"]})
    with client(offer) as opened:
        return opened.batches.create(
            input_file_id=upload(opened, content).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )


if __name__ == "__main__":
    report.run(
        a_file,
        files_in_pages,
        a_file_with_an_end,
        a_batch,
        batches_in_pages,
        a_batch_that_is_cancelled,
        a_batch_with_a_mistake,
        the_same_without_blocking,
        another_s_file,
        a_purpose_that_is_none,
        no_such_batch,
        a_model_without_batches,
    )
