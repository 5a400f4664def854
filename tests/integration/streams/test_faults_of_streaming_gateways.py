"""What must hold of streams because it did not hold in other gateways of this kind.

What other modules here show is not repeated: usage only for who asks, the engine stopped when its
caller leaves, errors in the route's words, silence that cuts nothing.
"""

from __future__ import annotations

import json

import pytest

from tests.support.streaming_gateway import BODY, streaming_gateway
from tests.support.streams import DONE, BackendThatStreams

FIRST = (
    b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}],'
    b'"usage":{"prompt_tokens":3,"total_tokens":3,"completion_tokens":0}}\n\n'
)
#: A delta with everything that gateways dropped.
RICH = (
    b'data: {"id":"x","choices":[{"index":0,"delta":{"reasoning":"2+2","reasoning_content":"2+2"},'
    b'"logprobs":{"content":[{"token":"4","logprob":-0.10}]},"token_ids":[1]}]'
)
USAGE = (
    b'"usage":{"prompt_tokens":3,"total_tokens":4,"completion_tokens":1,'
    b'"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}'
)
LAST = b'data: {"id":"x","choices":[],' + USAGE + b"}\n\n"


async def test_the_first_delta_and_the_rich_ones_are_not_touched_and_done_comes_once():
    backend = BackendThatStreams(FIRST, RICH + b"," + USAGE + b"}\n\n", LAST, DONE)
    async with streaming_gateway(backend) as gateway:
        _, _, body = await gateway.ask()
    first = FIRST[: FIRST.index(b',"usage"')] + b"}\n\n"
    assert body == first + RICH + b"}\n\n" + DONE


async def test_details_of_usage_reach_who_asks_and_the_accounts():
    backend = BackendThatStreams(FIRST, RICH + b"," + USAGE + b"}\n\n", LAST, DONE)
    async with streaming_gateway(backend) as gateway:
        _, _, body = await gateway.ask(stream_options={"include_usage": True})
        line = await gateway.line()
    assert body.endswith(LAST + DONE)
    assert body.count(b'"usage"') == 1
    assert (line["cached_tokens"], line["reasoning_tokens"]) == (2, 1)


async def test_no_parameter_is_put_into_the_request_but_that_for_usage():
    backend = BackendThatStreams(DONE)
    async with streaming_gateway(backend) as gateway:
        await gateway.ask()
    assert set(json.loads(backend.asked[0].body)) == {*BODY, "stream_options"}


@pytest.mark.parametrize("token", ["Bearer mallory", ""])
async def test_who_may_not_ask_gets_no_stream_with_an_error_in_it(token):
    backend = BackendThatStreams(DONE)
    async with (
        streaming_gateway(backend) as gateway,
        gateway.client.post(
            "/v1/chat/completions", json=BODY, headers={"Authorization": token}
        ) as response,
    ):
        assert response.status == 401
        assert response.content_type == "application/json"
    assert backend.asked == []
