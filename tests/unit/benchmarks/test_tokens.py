"""What the benchmarks count with: no token is lost, doubled or foreign without being counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from side_by_side import real_tokens
from side_by_side.measuring import Results, per_unit
from side_by_side.subject import Subject
from side_by_side.tokens import SEEN_TOKEN, TOKEN, Received, Tally, percentile


def received(numbers: Sequence[int], *, expected: int = 3, done: bool = True) -> Received:
    found = Received(7, expected)
    for number in numbers:
        found.take(7, number)
    found.done = done
    return found


def counts(tally: Tally) -> tuple[int, int, int, int]:
    return tally.lost, tally.doubled, tally.foreign, tally.broken


def test_a_whole_stream_has_no_faults() -> None:
    tally = received([0, 1, 2]).tally()
    assert (tally.streams, tally.expected, tally.faults) == (1, 3, 0)


@pytest.mark.parametrize(
    ("numbers", "done", "found"),
    [
        ([0, 2], True, (1, 0, 0, 0)),
        ([0, 1, 1, 2], True, (0, 1, 0, 0)),
        ([0, 0, 0], True, (2, 2, 0, 0)),
        ([0, 1, 2], False, (0, 0, 0, 1)),
        ([0, 1], False, (1, 0, 0, 1)),
        ([0, 2, 1], True, (0, 0, 0, 1)),
        ([], False, (3, 0, 0, 1)),
    ],
)
def test_every_fault_is_counted(
    numbers: list[int], done: bool, found: tuple[int, int, int, int]
) -> None:
    tally = received(numbers, done=done).tally()
    assert counts(tally) == found
    assert tally.faults == sum(found)


def test_a_token_of_another_stream_is_none_of_ours() -> None:
    found = received([0, 1])
    found.take(8, 2)
    assert counts(found.tally()) == (1, 0, 1, 0)


def test_a_token_that_was_never_sent_is_foreign() -> None:
    assert counts(received([0, 1, 2, 3]).tally()) == (0, 0, 1, 0)


def test_what_was_still_to_come_of_a_stream_that_was_given_up_is_not_lost() -> None:
    found = received([0, 2], expected=9, done=False)
    found.given_up = True
    tally = found.tally()
    assert (tally.expected, tally.late, counts(tally)) == (3, 1, (1, 0, 0, 0))


def test_tallies_add_up() -> None:
    whole = Tally()
    whole.add(received([0, 1, 2]).tally())
    whole.add(received([0, 0], done=False).tally())
    assert whole == Tally(streams=2, expected=6, lost=2, doubled=1, broken=1)


@pytest.mark.parametrize("form", [b'"content":"%s"', b'"content": "%s"'])
def test_tokens_are_found_however_their_json_is_written(form: bytes) -> None:
    event = b'data: {"choices":[{"delta":{' + form % (TOKEN % (7, 2, 12345)) + b"}}]}\n\n"
    assert [seen.groups() for seen in SEEN_TOKEN.finditer(event)] == [(b"7", b"2", b"12345")]


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0), (0.991, 100.0)]
)
def test_percentiles_are_nearest_ranks(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([3.0], 0.99) == 3.0


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 0.5))


def test_real_tokens_are_held_against_the_engine_s_own_count() -> None:
    found = Received(1, 100)
    one = b'data: {"choices": [{"logprobs": {"content": [{"token": "a"}]}}]}\n\n'
    two = b'data: {"choices": [{"logprobs": {"content": [{"token": "b"}, {"token": "c"}]}}]}\n\n'
    usage = b'data: {"choices": [], "usage": {"completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    real_tokens.take(found, one + two)
    real_tokens.take(found, b": still there\n\n" + usage)
    found.done = True
    assert counts(found.tally()) == (1, 0, 0, 0)


def test_real_tokens_beyond_the_engine_s_count_are_faults() -> None:
    found = Received(1, 100)
    chunk = b'data: {"choices": [{"logprobs": {"content": [{"token": "a"}]}}]}\n\n'
    real_tokens.take(found, chunk + chunk)
    real_tokens.take(found, b'data: {"choices": [], "usage": {"completion_tokens": 1}}\n\n')
    found.done = True
    assert found.tally().faults == 1


def test_processors_time_is_summed_by_what_processes_do() -> None:
    subject = Subject(name="roles", port=1, processes={"web": (11, 12), "hub": (13,)})
    assert subject.pids == [11, 12, 13]
    assert subject.by_name([1.0, 2.0, 4.0]) == {"web": 3.0, "hub": 4.0}


def test_time_per_unit_is_in_microseconds_and_unknown_without_units() -> None:
    assert per_unit(0.5, 1000) == 500.0
    assert math.isnan(per_unit(0.5, 0))


def test_medians_leave_out_what_could_not_be_measured() -> None:
    results = Results()
    for value in (1.0, math.nan, 3.0):
        results.add("relay", ("streams", 1, "lag_p50_ms"), value)
    assert results.median("relay", ("streams", 1, "lag_p50_ms")) == 2.0
    assert results.median("relay", ("streams", 2, "lag_p50_ms")) is None


def test_faults_are_those_of_one_subject() -> None:
    results = Results()
    results.tallies["relay"].add(received([0, 1, 2]).tally())
    results.tallies["raw"].add(received([0, 1]).tally())
    results.wrong["raw"] += 2
    assert results.faults("relay") == 0
    assert results.faults("raw") == 3
    assert results.faults("direct") == 0
