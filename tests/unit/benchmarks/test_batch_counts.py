"""What the benchmark of batches makes of its numbers."""

from __future__ import annotations

import os
import time

import pytest
from batch_parts.interactive import Beside
from batch_parts.processor import used_s
from batch_parts.runner import Memory
from batch_parts.table import BARE, RUNNER, VLLM, about_callers, about_clients, about_memory
from batch_parts.turn import Turn
from measured import Line


def turn(tokens_per_s: float, seconds: float = 2.0) -> Turn:
    return Turn(seconds=seconds, lines=10, tokens=int(tokens_per_s * seconds))


def by_label(lines: list[Line]) -> dict[str, Line]:
    return {line.label: line for line in lines}


def test_rounds_are_compared_one_by_one() -> None:
    # The machine was half as fast in the second round, for both.
    turns = {
        BARE: [turn(1000), turn(500)],
        RUNNER: [turn(990), turn(495)],
        VLLM: [turn(900), turn(600)],
    }
    found = by_label(about_clients("e", turns))
    assert found[f"e: {RUNNER}, times the {BARE}"].value == pytest.approx(0.99)
    assert not found[f"e: {RUNNER}, times the {BARE}"].missed
    against = found[f"e: {RUNNER}, times the {VLLM}"]
    assert against.value == pytest.approx((1.1 * 0.825) ** 0.5)
    assert against.missed
    # The logarithms of 1.1 and 0.825 differ by 0.288, half of which is their mean's error.
    assert "± 0.137 in 2 rounds" in against.text()


def test_too_slow_is_missed() -> None:
    found = by_label(about_clients("e", {BARE: [turn(1000)], RUNNER: [turn(970)]}))
    line = found[f"e: {RUNNER}, times the {BARE}"]
    assert line.missed
    assert "MISSED" in line.text()
    assert ">= 0.98" in line.text()


def test_memory_is_told_over_time() -> None:
    memory = Memory(samples=[10.0, 20.0, 30.0, 160.0, 40.0])
    quarter, end, most = about_memory("e", memory)
    assert (quarter.value, end.value, most.value) == (20.0, 160.0, 160.0)
    assert most.missed


def test_first_tokens_are_compared_by_their_percentiles() -> None:
    found = Beside(
        alone=[0.1] * 980 + [0.2] * 20, beside=[0.11] * 985 + [0.4] * 15, lines_per_min=9
    )
    lines = by_label(about_callers(found))
    assert lines["callers, each way"].value == 1000
    assert lines["first token, median, times that without"].value == pytest.approx(1.1)
    assert lines["first token, p90, times that without"].value == pytest.approx(1.1)
    tail = lines["first token, p99, times that without"]
    assert (tail.value, tail.missed) == (pytest.approx(2.0), True)


def test_processor_time_and_starts_are_told_apart_from_throughput() -> None:
    def used(cpu_s: float, whole_s: float) -> Turn:
        return Turn(seconds=2.0, lines=100, tokens=200, cpu_s=cpu_s, whole_s=whole_s)

    ours, theirs = [used(3.0, 4.0), used(1.0, 2.0), used(2.0, 3.0)], [used(2.5, 30.0)] * 3
    turns = {RUNNER: ours, VLLM: theirs}
    found = by_label(about_clients("e", turns))
    assert found[f"e: {RUNNER}, processor time of a line (ms)"].value == pytest.approx(20.0)
    assert found[f"e: {VLLM}, processor time of a line (ms)"].value == pytest.approx(25.0)
    start = found[f"e: {RUNNER}, from the command to its end, times as soon as {VLLM}"]
    assert start.value == pytest.approx(10.0)


def test_a_turn_whose_processor_time_is_unknown_has_no_line_of_it() -> None:
    found = about_clients("e", {BARE: [turn(1000)], RUNNER: [turn(970)]})
    assert not [line for line in found if "processor" in line.label or "soon" in line.label]


def test_what_a_process_used_is_counted() -> None:
    engine = os.getpid()
    before, began = (used_s([]), used_s([engine])), time.process_time()
    while time.process_time() < began + 0.1:
        pass
    # As an engine it counts once more.
    assert used_s([]) - before[0] >= 0.05
    assert used_s([engine]) - before[1] >= 0.15
