"""The package `openai-batch` from PyPI, used as its own documentation says."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import report
from openai_batch import Batch
from openai_batch.providers import Provider
from report import Offer

#: Between two questions for the status (seconds).
POLL_S = 0.2


def done(offer: Offer, folder: str, *questions: str) -> tuple[list[str], Any, Any, Any]:
    """Write an input, have it done and download what came of it; return the statuses seen, too.

    Version 0.3.4 cannot read back a file that it has just written, so the input is written by one
    batch and submitted by another, as the package's own command does.
    """
    provider = Provider(name="hotnode", base_url=offer["base_url"], api_key=offer["key"])
    path = Path(folder, "in.jsonl")
    with Batch(submission_input_file=path, provider=provider) as written:
        for question in questions:
            written.add_to_batch(
                model=offer["model"], messages=[{"role": "user", "content": question}]
            )
    seen: list[str] = []
    batch = Batch(
        submission_input_file=path,
        output_file=Path(folder, "out.jsonl"),
        error_file=Path(folder, "errors.jsonl"),
        provider=provider,
    )
    # What it prints is no part of the report.
    with contextlib.redirect_stdout(io.StringIO()):
        last, output, errors = batch.submit_wait_download(
            interval=POLL_S, status_callback=lambda told: seen.append(told.status)
        )
    return seen, last, output, errors


def submit_wait_download(offer: Offer) -> object:
    questions = [f"Question {number}" for number in range(50)]
    with tempfile.TemporaryDirectory() as folder:
        seen, last, output, errors = done(offer, folder, *questions)
        records = [json.loads(line) for line in Path(output).read_text().splitlines()]
        return {
            "last": last.status,
            "seen": seen,
            "ids": [record["custom_id"] for record in records],
            "statuses": sorted({record["response"]["status_code"] for record in records}),
            "errors": errors,
        }


def a_line_that_fails(offer: Offer) -> object:
    """Output and error file are both there, and both are downloaded."""
    with tempfile.TemporaryDirectory() as folder:
        _, last, output, errors = done(offer, folder, "One", "Two", "Fail status:400")
        return {
            "last": last.status,
            "answers": len(Path(output).read_text().splitlines()),
            "errors": len(Path(errors).read_text().splitlines()),
        }


if __name__ == "__main__":
    report.run(submit_wait_download, a_line_that_fails)
