"""A runner that tells nothing is silent; what hides it from who looks is no silence of its own."""

from __future__ import annotations

from pathlib import Path

from batch import whole_file
from compute_functions.batch_keeper.pulse import Pulse


def looked(pulse: Pulse, *times: float) -> float:
    for now in times:
        pulse.look(now)
    return pulse.silent_s


def test_silence_is_counted_until_something_is_told(tmp_path: Path) -> None:
    file = tmp_path / "progress.json"
    pulse = Pulse(file)
    assert looked(pulse, 100.0, 101.0, 102.0) == 2.0
    whole_file.replace(file, b"{}")
    assert looked(pulse, 103.0) == 0.0
    assert looked(pulse, 104.0, 105.5) == 2.5
    whole_file.replace(file, b"{}")
    assert looked(pulse, 106.0) == 0.0


def test_a_look_that_came_late_counts_for_little(tmp_path: Path) -> None:
    assert looked(Pulse(tmp_path / "progress.json"), 100.0, 101.0, 5000.0) == 3.0


def test_a_disk_that_does_not_answer_tells_nothing(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "work" / "progress.json")
    assert looked(pulse, 100.0, 101.0) == 1.0
    (tmp_path / "work").write_bytes(b"no folder")
    assert looked(pulse, 102.0, 103.0) == 1.0
    (tmp_path / "work").unlink()
    assert looked(pulse, 104.0) == 1.0
    assert looked(pulse, 105.0) == 2.0
