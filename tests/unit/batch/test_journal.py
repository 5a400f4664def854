"""The journal under every harm: torn, flipped, appended by one who was taken over."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.journal import replay, segment
from batch.journal.record import (
    Answer,
    Asked,
    Counted,
    Left,
    Problem,
    Seal,
    Tries,
    counted,
    pack,
    unframe,
    unpack,
)
from batch.journal.recorded import Recorded
from batch.journal.segment import SegmentWriter
from batch.use import Use

ANSWERS = st.builds(
    Answer,
    line=st.integers(1, 1_000_000),
    custom_id=st.text(min_size=1, max_size=40),
    status=st.sampled_from([200, 400, 503]),
    request_id=st.text(max_size=20),
    problem=st.none() | st.builds(Problem, code=st.text(max_size=9), message=st.text(max_size=40)),
    use=st.builds(
        Use, input_tokens=st.integers(0, 9_999_999), output_tokens=st.integers(0, 9_999_999)
    ),
    attempts=st.integers(1, 6),
    body=st.dictionaries(st.text(max_size=9), st.text(max_size=40), max_size=3).map(
        lambda values: json.dumps(values, ensure_ascii=False).encode()
    ),
)


def answer(line: int, *, text: str = "yes", problem: Problem | None = None) -> Answer:
    return Answer(
        line=line,
        custom_id=f"line-{line}",
        status=200,
        request_id="r",
        problem=problem,
        use=Use(output_tokens=1),
        body=json.dumps({"text": text}).encode(),
    )


def counted_of(answer: Answer) -> Counted:
    return Counted(answer.line, answer.problem is None, answer.use.tokens)


@contextmanager
def folder_with(segments: dict[int, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hotnode-journal-") as name:
        for epoch, content in segments.items():
            segment.path_of(Path(name), epoch).write_bytes(content)
        yield Path(name)


def replayed(folder: Path, total: int) -> Recorded:
    return replay.replay(folder, total, ends=replay.seals(folder)).recorded


def lines_of(recorded: Recorded) -> list[int]:
    return [number for number in range(1, recorded.total + 1) if recorded.has(number)]


WRITTEN = [pack(answer(number, text="ü" * number)) for number in range(1, 9)]
WHOLE = b"".join(WRITTEN)


@given(ANSWERS)
def test_an_answer_comes_back_as_it_was(given_answer: Answer):
    packed = pack(given_answer)
    payload = unframe(packed)
    assert payload is not None
    assert json.loads(payload)["body"] == json.loads(given_answer.body)
    assert unpack(payload) == given_answer
    assert counted(payload) == counted_of(given_answer)
    assert packed.count(b"\n") == 1


def test_text_that_looks_like_the_body_of_a_record_is_text():
    tricky = Answer(
        line=1,
        custom_id='","body":{"a":1},"line":7',
        status=None,
        request_id=',"error":[,"body":',
        problem=Problem(code=',"use":[1,2,3,4],"body":', message='"'),
        use=Use(input_tokens=5, cached_tokens=6, output_tokens=7, reasoning_tokens=8),
        body=b'{"custom_id":"x","error":null,"use":[1,2,3,4],"attempts":1}',
    )
    payload = unframe(pack(tricky)) or b""
    assert unpack(payload) == tricky
    assert counted(payload) == counted_of(tricky)


@pytest.mark.parametrize(
    "record",
    [
        Tries(line=7, tries=3),
        Tries(line=7, tries=0, losses=2),
        Asked(line=5),
        Left(),
        Seal(lengths={1: 0, 12: 99}),
    ],
)
def test_other_records_come_back_as_they_were(record: Tries | Asked | Left | Seal):
    payload = unframe(pack(record)) or b""
    assert unpack(payload) == record
    assert counted(payload) is None


@given(st.integers(0, len(WHOLE)))
def test_a_journal_cut_anywhere_keeps_every_whole_record_and_no_other(length: int):
    # The last line end is not part of what a record says.
    ends = [len(b"".join(WRITTEN[: count + 1])) - 1 for count in range(len(WRITTEN))]
    with folder_with({1: WHOLE[:length]}) as folder:
        recorded = replayed(folder, 8)
    assert recorded.count == sum(end <= length for end in ends)
    assert lines_of(recorded) == list(range(1, recorded.count + 1))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_anywhere_costs_the_record_that_it_hits_and_at_most_one_neighbour(
    at: int, flip: int
):
    damaged = bytearray(WHOLE)
    damaged[at] ^= flip
    hit = next(number for number in range(1, 9) if at < len(b"".join(WRITTEN[:number])))
    with folder_with({1: bytes(damaged)}) as folder:
        recorded = replayed(folder, 8)
    # A line end that is gone joins two records: neither fits its sum.
    lost = set(range(1, 9)) - set(lines_of(recorded))
    assert lost <= {hit, hit + 1}
    if at != len(b"".join(WRITTEN[:hit])) - 1:
        assert lost == {hit}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_none(noise: bytes):
    with folder_with({1: noise + b"\n" + WHOLE}) as folder:
        recorded = replayed(folder, 8)
    assert lines_of(recorded) == list(range(1, 9))


def test_a_broken_record_in_the_middle_is_told_and_a_torn_end_is_not_one():
    broken = WRITTEN[0] + b"#" + WRITTEN[1] + WRITTEN[2] + WRITTEN[3][:-5]
    with folder_with({1: broken}) as folder:
        found = replay.replay(folder, 8, ends={})
    assert found.broken == 1
    assert lines_of(found.recorded) == [1, 3]


def test_the_first_record_of_a_line_holds_by_epoch_and_then_by_place():
    early, late = pack(answer(1, text="early")), pack(answer(1, text="late"))
    with folder_with({10: late, 9: early + late}) as folder:
        recorded = replayed(folder, 1)
    assert recorded.place(1) == (9, 0, len(early))
    assert recorded.use.output_tokens == 1


def test_records_of_lines_that_the_batch_does_not_have_are_left_out():
    with folder_with({1: pack(answer(5)) + pack(answer(2))}) as folder:
        assert lines_of(replayed(folder, 4)) == [2]


def test_what_a_runner_writes_after_it_was_taken_over_counts_for_nobody():
    first = pack(answer(1))
    with folder_with({1: first}) as folder:
        seal = replay.new_seal(folder, 2)
        segment.path_of(folder, 2).write_bytes(pack(seal))
        # The first one was asleep, and writes on.
        with segment.path_of(folder, 1).open("ab") as file:
            file.write(pack(answer(2)))
        assert lines_of(replayed(folder, 3)) == [1]
        # A third one repeats what the second one said, though the file is longer now.
        assert replay.new_seal(folder, 3).lengths == {1: len(first), 2: len(pack(seal))}


def test_a_segment_that_came_after_its_seal_holds_nothing():
    with folder_with({3: pack(Seal(lengths={}))}) as folder:
        segment.path_of(folder, 2).write_bytes(pack(answer(1)))
        assert lines_of(replayed(folder, 1)) == []


def test_a_seal_that_does_not_fit_its_sum_is_none_and_the_one_before_holds():
    with folder_with({1: pack(answer(1)) + pack(answer(2))}) as folder:
        sealed = pack(Seal(lengths={1: len(pack(answer(1)))}))
        segment.path_of(folder, 2).write_bytes(sealed)
        segment.path_of(folder, 3).write_bytes(b"x" + sealed)
        assert lines_of(replayed(folder, 2)) == [1]


def test_tries_in_vain_are_remembered():
    with folder_with({1: pack(Tries(line=2, tries=1)), 2: pack(Tries(line=2, tries=2))}) as folder:
        assert replayed(folder, 2).tries == {2: 2}


def framed(payload: bytes) -> bytes:
    rest = b"%d %b" % (len(payload), payload)
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def test_a_journal_of_before_there_were_losses_is_read():
    with folder_with({1: framed(b'{"line":2,"tries":4}')}) as folder:
        recorded = replayed(folder, 2)
    assert (recorded.tries, recorded.losses) == ({2: 4}, {})


def test_losses_are_remembered_of_lines_that_are_pending():
    lost = b"".join(pack(Tries(line=line, tries=0, losses=2)) for line in (1, 2, 9))
    with folder_with({1: lost + pack(answer(1)) + pack(Left())}) as folder:
        assert replayed(folder, 3).losses == {2: 2}


ASKED = b"".join(pack(Asked(line=line)) for line in (1, 2, 3))


@pytest.mark.parametrize(
    ("end", "losses", "died"), [(b"", {3: 1}, True), (pack(Left()), {}, False)]
)
def test_what_a_runner_had_asked_is_lost_with_it_unless_it_leaves(
    end: bytes, losses: dict[int, int], died: bool
):
    told = pack(answer(1)) + pack(Tries(line=2, tries=1))
    with folder_with({1: ASKED + told + end}) as folder:
        recorded = replayed(folder, 4)
    assert (recorded.losses, recorded.died) == (losses, died)


def test_a_runner_whose_segment_takes_no_record_any_more_has_left_all_the_same():
    with folder_with({1: ASKED}) as folder:
        segment.mark_left(folder, 1)
        recorded = replayed(folder, 4)
    assert (recorded.losses, recorded.died) == ({}, False)


def test_what_it_could_not_write_makes_nobody_forget_who_died_before_it():
    with folder_with({1: ASKED, 2: b""}) as folder:
        segment.mark_left(folder, 2)
        recorded = replayed(folder, 4)
    assert (recorded.losses, recorded.died) == ({1: 1, 2: 1, 3: 1}, True)


def test_what_a_line_lost_adds_up_over_runners_and_their_own_word_holds():
    own_word = pack(Tries(line=3, tries=0, losses=2))
    with folder_with({1: ASKED, 2: own_word + pack(Asked(line=3)), 4: pack(Left())}) as folder:
        assert replayed(folder, 4).losses == {1: 1, 2: 1, 3: 3}


def test_a_word_behind_the_seal_is_none():
    """The first runner was stopped, and says that it leaves when it was taken over long ago."""
    seal = pack(Seal(lengths={1: len(ASKED)}))
    with folder_with({1: ASKED + pack(Left()), 2: seal}) as folder:
        assert replayed(folder, 3).losses == {1: 1, 2: 1, 3: 1}


def test_a_segment_is_written_once_and_never_over_another(tmp_path: Path):
    writer = SegmentWriter.create(tmp_path, 1)
    writer.write(b"abc")
    writer.close()
    assert writer.size == 3
    with pytest.raises(FileExistsError):
        SegmentWriter.create(tmp_path, 1)
