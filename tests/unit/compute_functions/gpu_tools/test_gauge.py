"""How busy a job's own GPUs are, as the vendors' programs tell it; nobody knowing is no failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compute_functions.errors import DriverFailed
from compute_functions.gpu_tools import GpuGauge
from compute_functions.instance_job.gpu_watch import EVERY_S, GpuWatch
from tests.support.gpu_programs import ProgramsThatTellGpuUse

pytestmark = pytest.mark.row("L-14")

AMD_LIST = [
    {"gpu": 0, "usage": {"gfx_activity": {"value": 10, "unit": "%"}, "umc_activity": "N/A"}},
    {"gpu": 1, "usage": {"gfx_activity": {"value": 60, "unit": "%"}}},
    {"gpu": 2, "usage": {"gfx_activity": "N/A"}},
]
ROCM = {
    "card0": {"GPU use (%)": "30", "GFX Activity": "123"},
    "card1": {"GPU use (%)": "50"},
    "system": {"Driver version": "6.3.6"},
}
WARNING = "WARNING: AMD GPU device(s) is/are in a low-power state. [0]\n\n"


@pytest.fixture
def programs(tmp_path: Path) -> ProgramsThatTellGpuUse:
    return ProgramsThatTellGpuUse(folder=tmp_path / "bin")


def gauge(programs: ProgramsThatTellGpuUse, ordered: int = 2, **environment: Any) -> GpuGauge:
    return GpuGauge({"PATH": programs.path} | environment, ordered=ordered)


@pytest.mark.parametrize(
    ("names", "percent"),
    [
        ("1,3", 60.0),
        ("2", 30.0),
        ("GPU-3a2b-0000,GPU-0", 55.0),
        ("0-2", 20.0),
        # A part of a GPU, of which the program knows nothing; nothing; no device.
        ("MIG-5e0c1c6d", None),
        ("", None),
        ("NoDevFiles", None),
    ],
)
async def test_only_the_jobs_own_gpus_count(
    programs: ProgramsThatTellGpuUse, names: str, percent: float | None
) -> None:
    programs.nvidia(10, 20, 30, 100)

    assert await gauge(programs, CUDA_VISIBLE_DEVICES=names).percent() == percent


async def test_a_job_whose_gpus_nobody_names_has_the_node_for_itself_or_nobody_knows(
    programs: ProgramsThatTellGpuUse,
) -> None:
    programs.nvidia(10, 20)

    assert await gauge(programs, ordered=2).percent() == 15.0
    assert await gauge(programs, ordered=1).percent() is None


async def test_a_gpu_that_cannot_tell_is_left_out(programs: ProgramsThatTellGpuUse) -> None:
    programs.nvidia("[N/A]", 20)

    assert await gauge(programs).percent() == 20.0
    assert await gauge(programs, CUDA_VISIBLE_DEVICES="0").percent() is None


@pytest.mark.parametrize("ordered", [0, 1])
def test_without_a_program_or_a_gpu_nobody_is_asked(tmp_path: Path, ordered: int) -> None:
    programs = ProgramsThatTellGpuUse(folder=tmp_path)
    if ordered == 0:
        programs.nvidia(1)
    assert not GpuGauge({"PATH": str(tmp_path)}, ordered=ordered).is_there


@pytest.mark.parametrize(
    ("program", "text", "percent"),
    [
        ("amd-smi", json.dumps(AMD_LIST), 60.0),
        ("amd-smi", json.dumps({"gpu_data": AMD_LIST}), 60.0),
        ("rocm-smi", WARNING + json.dumps(ROCM), 50.0),
    ],
)
async def test_amds_programs_are_read_by_the_schedulers_numbers(
    programs: ProgramsThatTellGpuUse, program: str, text: str, percent: float
) -> None:
    programs.prints(program, text)

    # They see all GPUs of the node, while the job counts its own from 0.
    numbers: dict[str, Any] = {"SLURM_JOB_GPUS": "1,2", "ROCR_VISIBLE_DEVICES": "0,1"}
    assert await gauge(programs, **numbers).percent() == percent


async def test_a_program_of_another_vendor_that_sees_no_gpu_is_passed_over_once(
    programs: ProgramsThatTellGpuUse,
) -> None:
    programs.prints("nvidia-smi", "the driver wakes up", status=9)
    programs.prints("amd-smi", "[]")
    both = gauge(programs, CUDA_VISIBLE_DEVICES="0")
    assert await both.percent() is None

    (programs.folder / "nvidia-smi").unlink()
    programs.nvidia(40)

    assert await both.percent() == 40.0


async def test_a_program_of_another_vendor_that_fails_is_passed_over(
    programs: ProgramsThatTellGpuUse,
) -> None:
    programs.prints("nvidia-smi", "NVIDIA-SMI has failed: no driver\n", status=9)
    programs.prints("rocm-smi", json.dumps(ROCM))

    assert await gauge(programs).percent() == 40.0


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("nvidia-smi", "Unable to determine the device handle for GPU0: Unknown Error\n"),
        ("nvidia-smi", "x, GPU-1, 5\n"),
        ("amd-smi", "no"),
        ("amd-smi", '{"gpu": 1}'),
        ("amd-smi", "[7]"),
        ("rocm-smi", "[]"),
        ("rocm-smi", "{" * 100),
    ],
)
async def test_what_no_such_program_says_is_a_failure(
    programs: ProgramsThatTellGpuUse, program: str, text: str
) -> None:
    programs.prints(program, text)

    with pytest.raises(DriverFailed, match=program):
        await gauge(programs).percent()


@pytest.mark.parametrize("odd", ["nan", "inf", "-3", "1e999", "", "N/A"])
async def test_a_percentage_that_cannot_be_is_not_known(
    programs: ProgramsThatTellGpuUse, odd: str
) -> None:
    programs.nvidia(odd)

    assert await gauge(programs).percent() is None


async def test_what_was_seen_is_forgotten_when_the_program_fails(
    programs: ProgramsThatTellGpuUse, caplog: pytest.LogCaptureFixture
) -> None:
    programs.nvidia(70, 80)
    watch = GpuWatch(gauge(programs))
    await watch.look()
    assert (watch.percent, watch.pause_s) == (75.0, EVERY_S)
    programs.nvidia(1, 2)
    await watch.look()
    assert watch.percent == 1.5

    (programs.folder / "gpus.json").write_text("the GPU has fallen off the bus")
    pauses = []
    for _ in range(9):
        await watch.look()
        pauses.append(watch.pause_s)
    assert watch.percent is None
    assert pauses[:2] == [2 * EVERY_S, 4 * EVERY_S]
    assert pauses[-2] == pauses[-1] < 1000
    assert caplog.text.count("gpu_use_unknown") == 1

    programs.nvidia(3, 3)
    await watch.look()
    assert (watch.percent, watch.pause_s) == (3.0, EVERY_S)
