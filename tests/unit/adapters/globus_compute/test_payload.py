"""What a request takes on the wire is never more than was reckoned."""

from __future__ import annotations

import base64
import json
import secrets

import pytest
from globus_compute_sdk.sdk.batch import Batch
from globus_compute_sdk.serialize import ComputeSerializer, JSONData
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract import (
    COMPRESS_FROM,
    ENVELOPE_ALLOWANCE,
    GLOBUS_PAYLOAD_LIMIT,
    EngineRequest,
    JsonObject,
)
from resource_server.adapters.globus_compute.lanes import BATCH_BYTES
from resource_server.adapters.globus_compute.payload import THREAD_FROM, pack_request
from resource_server.domain import errors

FUNCTION = "5f8b1a64-3b1c-4a5e-9d2f-0a1b2c3d4e5f"


def request(body: bytes, headers: dict[str, str] | None = None) -> EngineRequest:
    return EngineRequest(
        request_id="r",
        framework="vllm",
        model="m",
        path="/v1/chat/completions",
        body=body,
        timeout_s=30.0,
        expires_at=1_800_000_000.123456,
        headers=headers or {},
    )


def submission_bytes(*arguments: JsonObject) -> int:
    """Return the size of the request that the SDK makes of such tasks."""
    batch = Batch(None, serializer=ComputeSerializer(strategy_data=JSONData()))
    for argument in arguments:
        batch.add(FUNCTION, args=(argument,))
    return len(json.dumps(batch.prepare()).encode())


@given(st.binary(max_size=2 * COMPRESS_FROM), st.text(max_size=50))
async def test_the_reckoned_size_covers_what_the_sdk_sends(body: bytes, word: str) -> None:
    payload = await pack_request(request(body, {"x-word": word}))
    alone = submission_bytes(payload.argument)
    both = submission_bytes(payload.argument, payload.argument)
    assert both - alone <= payload.size
    assert alone <= payload.size + ENVELOPE_ALLOWANCE


@pytest.mark.parametrize("text", ['"\\' * 500, "ß" * 500, "中文" * 160, "😀" * 200, "\n\t" * 500])
async def test_text_that_grows_by_quoting_is_reckoned_with(text: str) -> None:
    payload = await pack_request(request(text.encode()[: COMPRESS_FROM - 4]))
    assert submission_bytes(payload.argument) <= payload.size + ENVELOPE_ALLOWANCE


@pytest.mark.row("C-57")
async def test_ten_megabytes_of_text_fit() -> None:
    text = " ".join(f"{number} tokens" for number in range(700_000))
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    assert len(body) > 9_000_000
    payload = await pack_request(request(body))
    assert payload.size < BATCH_BYTES / 2


@pytest.mark.row("C-57")
async def test_what_does_not_fit_names_the_limit_and_the_way_out() -> None:
    noise = secrets.token_bytes(8_000_000)
    body = json.dumps({"image": base64.b64encode(noise).decode()}).encode()
    with pytest.raises(errors.PayloadTooLarge) as caught:
        await pack_request(request(body))
    assert caught.value.limit_bytes == GLOBUS_PAYLOAD_LIMIT
    for word in ("'task'", str(GLOBUS_PAYLOAD_LIMIT), "smaller", "several requests"):
        assert word in caught.value.message


async def test_a_large_body_arrives_as_it_was() -> None:
    body = secrets.token_bytes(3 * THREAD_FROM)
    payload = await pack_request(request(body))
    assert EngineRequest.from_wire(json.loads(json.dumps(payload.argument))) == request(body)
