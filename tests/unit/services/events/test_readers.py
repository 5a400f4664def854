from __future__ import annotations

import json

import pytest

from resource_server.adapters.usage_reader import read_event_usage
from resource_server.domain.dialects import Dialect
from resource_server.domain.inference import Usage
from resource_server.services.events import EventReader, reader_of
from resource_server.services.stream_options import EVERYTHING, UsageView
from tests.support.streams import DONE, Chat, named

ASKED = Chat(options={"include_usage": True, "continuous_usage_stats": True}).events()


def reader(dialect: Dialect = Dialect.CHUNKS, view: UsageView = EVERYTHING) -> EventReader:
    return reader_of(dialect, view, read_event_usage)


@pytest.mark.parametrize(
    ("view", "options"),
    [
        (UsageView(final=False, continuous=False), {}),
        (UsageView(final=True, continuous=False), {"include_usage": True}),
        (EVERYTHING, {"include_usage": True, "continuous_usage_stats": True}),
    ],
)
def test_of_all_usage_the_caller_sees_what_it_asked_for(view, options):
    reads = reader(view=view)
    assert reads.take(ASKED) == b"".join(Chat(options=options).events())
    assert reads.complete
    assert reads.usage() == Usage(input_tokens=9, output_tokens=3)


def test_a_final_chunk_alone_is_left_out_of_an_engine_that_says_no_more():
    asked = Chat(options={"include_usage": True}).events()
    reads = reader(view=UsageView(final=False))
    assert reads.take(asked) == b"".join(Chat().events())
    assert reads.usage() == Usage(input_tokens=9, output_tokens=3)


def test_usage_is_known_at_every_moment():
    reads = reader()
    made = []
    for event in ASKED[:-2]:
        reads.take([event])
        made.append(reads.usage().output_tokens)
    assert made == [0, 1, 2, 3]
    assert not reads.complete


def test_before_anything_was_said_nothing_is_known():
    assert reader().usage() is None
    assert reader(Dialect.MESSAGES).usage() is None


@pytest.mark.parametrize(
    "done",
    [
        DONE,
        b"data:[DONE]\r\n\r\n",
        pytest.param(b"\n" + DONE, id="behind a third line feed"),
        pytest.param(b": ping\n" + DONE, id="behind a comment"),
        pytest.param(b"id: 7\r\ndata: [DONE]\r\n\r\n", id="with an id"),
        pytest.param(b"event: done\n" + DONE, id="with a name"),
    ],
)
def test_the_end_of_chunks(done):
    reads = reader()
    assert reads.take([done]) == done
    assert reads.complete


def test_an_answer_that_speaks_of_the_end_is_not_at_its_end():
    event = b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n'
    reads = reader()
    assert reads.take([event]) == event
    assert not reads.complete


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error": {"message": "x"}}\n\n',
        b'data:{"error":"x"}\n\n',
        b'event: error\ndata: {"error": {"message": "x"}}\n\n',
        b': ping\r\ndata: {"error": {"message": "x"}}\r\n\r\n',
    ],
)
def test_nothing_comes_behind_an_error_of_chunks(error):
    reads = reader()
    assert reads.take([ASKED[0], error, DONE]) == ASKED[0] + error
    assert reads.take([DONE]) == b""
    assert (reads.error, reads.complete, reads.count) == (error, False, 2)


@pytest.mark.parametrize(
    "event", [b'data: {"error":null,"choices":[]}\n\n', b'data: {"errors":1}\n\n']
)
def test_what_only_looks_like_an_error(event):
    reads = reader()
    assert reads.take([event]) == event
    assert reads.error is None


def test_usage_is_cut_from_a_chunk_of_several_lines():
    chunk = b'data: {"choices": [1],\ndata: "usage": {"total_tokens": 3}}\n\n'
    reads = reader(view=UsageView(final=False, continuous=False))
    assert reads.take([chunk]) == b'data: {"choices": [1]}\n\n'
    assert reads.usage() == Usage(input_tokens=3)


@pytest.mark.parametrize(
    "usage",
    [
        b'"usage" : {"total_tokens": 3}',
        b'"usage"\t:\t{"total_tokens": 3}',
        b'"us\\u0061ge":{"total_tokens": 3}',
        b'"\\u0075\\u0073\\u0061\\u0067\\u0065" :{"total_tokens": 3}',
    ],
)
def test_usage_is_counted_and_cut_however_json_spells_it(usage):
    reads = reader(view=UsageView(final=False, continuous=False))
    chunk = b'data: {"choices": [{"delta": {"content": "a"}}], ' + usage + b"}\n\n"
    assert reads.take([chunk]) == b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    assert reads.usage() == Usage(input_tokens=3)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_comments_are_no_events(dialect):
    reads = reader(dialect)
    assert reads.take([b": ping\n\n", b":\r\n\r\n"]) == b": ping\n\n:\r\n\r\n"
    assert reads.count == 0


def deltas_of_chat(*deltas: dict[str, object]) -> list[bytes]:
    return [
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"
        for delta in deltas
    ]


def test_where_an_engine_says_nothing_the_chunks_with_content_count():
    reads = reader()
    reads.take(
        deltas_of_chat(
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Hm"},
            {"content": 'no "content": "x" here'},
            {"tool_calls": [{"function": {"name": "f", "arguments": ""}}]},
            {"tool_calls": [{"function": {"arguments": "{"}}]},
            {},
        )
    )
    assert reads.usage() == Usage(output_tokens=3)
    reads.take([b'data: {"choices":[{"text":" a"}]}\n\n'])
    assert reads.usage() == Usage(output_tokens=4)


def test_what_an_engine_says_counts_before_what_was_counted():
    reads = reader()
    reads.take([*Chat().events()[:-1], *Chat(options={"include_usage": True}).events()[-2:]])
    assert reads.usage() == Usage(input_tokens=9, output_tokens=3)


RESPONSES_BEGUN = named(
    ("response.created", {"response": {"usage": None}}),
    ("response.output_text.delta", {"delta": "Hal"}),
    ("response.function_call_arguments.delta", {"delta": "{"}),
    ("response.output_text.delta", {"delta": ""}),
    ("response.output_text.done", {"text": "Hal"}),
)
MESSAGES_BEGUN = named(
    ("message_start", {"message": {"usage": {"input_tokens": 2, "output_tokens": 1}}}),
    ("content_block_start", {"content_block": {"type": "text", "text": ""}}),
    ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "Hm"}}),
    ("content_block_delta", {"delta": {"type": "signature_delta", "signature": "x"}}),
    ("content_block_delta", {"delta": {"type": "text_delta", "text": "Hal"}}),
    ("content_block_delta", {"delta": {"type": "input_json_delta", "partial_json": "{"}}),
)


@pytest.mark.parametrize("nameless", [False, True])
@pytest.mark.parametrize(
    ("dialect", "begun", "usage"),
    [
        (Dialect.RESPONSES, RESPONSES_BEGUN, Usage(output_tokens=2)),
        (Dialect.MESSAGES, MESSAGES_BEGUN, Usage(input_tokens=2, output_tokens=3)),
    ],
)
def test_of_an_answer_that_was_left_the_deltas_count(dialect, begun, usage, nameless):
    reads = reader(dialect)
    reads.take([e.partition(b"\n")[2] for e in begun] if nameless else begun)
    assert reads.usage() == usage


def test_at_the_end_the_engine_alone_says_what_an_answer_cost():
    reads = reader(Dialect.RESPONSES)
    reads.take(RESPONSES_BEGUN)
    reads.take(named(("response.completed", {"response": {"usage": {"output_tokens": 1}}})))
    assert reads.usage() == Usage(output_tokens=1)


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed"])
@pytest.mark.parametrize("nameless", [False, True])
def test_responses_end_with_the_whole_of_it(end, nameless):
    usage = {"input_tokens": 3, "output_tokens": 4}
    [event] = named((f"response.{end}", {"response": {"usage": usage}}))
    if nameless:
        event = event.partition(b"\n")[2]
    reads = reader(Dialect.RESPONSES)
    assert reads.take([event]) == event
    assert (reads.complete, reads.usage()) == (True, Usage(input_tokens=3, output_tokens=4))


def test_messages_say_their_usage_in_two_places():
    events = named(
        ("message_start", {"message": {"usage": {"input_tokens": 2, "output_tokens": 1}}}),
        ("content_block_delta", {"delta": {"text": "message_stop"}}),
        ("message_delta", {"usage": {"output_tokens": 9}}),
        ("message_stop", {}),
    )
    reads = reader(Dialect.MESSAGES)
    reads.take(events[:2])
    assert reads.usage() == Usage(input_tokens=2, output_tokens=1)
    reads.take(events[2:])
    assert (reads.complete, reads.usage()) == (True, Usage(input_tokens=2, output_tokens=9))


@pytest.mark.parametrize(
    ("dialect", "end"),
    [
        (Dialect.CHUNKS, b"data: [DONE]\n\n"),
        (Dialect.RESPONSES, b"event: response.completed\ndata: {}\n\n"),
        (Dialect.MESSAGES, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ],
)
def test_the_answer_ends_with_its_end_however_the_events_were_cut(dialect, end):
    """As vLLM's, which says `[DONE]` behind `message_stop`: in the same part, or in the next."""
    reads = reader(dialect)
    assert reads.take([end, b"data: [DONE]\n\n"]) == end
    assert (reads.complete, reads.count) == (True, 1)


@pytest.mark.parametrize("dialect", [Dialect.RESPONSES, Dialect.MESSAGES])
def test_named_errors(dialect):
    [error] = named(("error", {"error": {}}))
    reads = reader(dialect)
    assert reads.take([error, b"event: message_stop\n\n"]) == error
    assert (reads.error, reads.complete) == (error, False)
