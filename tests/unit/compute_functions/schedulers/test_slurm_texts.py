"""What Slurm's commands print, as 22.05 printed it on a real cluster, and in 24.11's words."""

from __future__ import annotations

from datetime import datetime

import pytest

from compute_functions.errors import DriverFailed
from compute_functions.schedulers.slurm import (
    node_list,
    sbatch,
    sbatch_test_only,
    scontrol_config,
    scontrol_job,
    sinfo,
    squeue,
    times,
)

OURS = "hotnode:i=x-12345678;g=3;f=1;m=org%2Fmodel~a"
QUEUE = f"""\
3|PENDING|gpu||5:00|N/A|5:00|Resources|1795274605|1795274305|/s|{OURS}
4|RUNNING|gpu|s3-n2|9:59|1795274906|10:00|None|1795274306|1795274305|/home/x|a|b
7|8|9 ; "q"
1|RUNNING|gpu|s3-n[1-2]|4:58|1795274605|5:00|None|1795274305|1795274305|/s|{OURS}
12_[0-5%2]|PENDING|hot,gpu||UNLIMITED|NONE|UNLIMITED|Priority|N/A|2026-11-21T15:18:25|/tmp|(null)
"""
NODES = """\
s3-n1|mixed|gpu:a100:4,shard:a100:16|gpu:a100:3(IDX:0-2),shard:a100:0(IDX:N/A)|
s3-n1|mixed|gpu:a100:4,shard:a100:16|gpu:a100:3(IDX:0-2),shard:a100:0(IDX:N/A)|
s3-n2|allocated*|gpu:a100:4(S:0-1)|gpu:a100:4(IDX:0-3)|
s3-n3|idle|gpu:a100:4,shard:a100:16|gpu:a100:0(IDX:N/A),shard:a100:0(IDX:N/A)|
s3-n4|down*|gpu:4|gpu:0|
s3-n5|draining|gpu:a100:2,gpu:h100:2|gpu:a100:1(IDX:0),gpu:h100:0(IDX:N/A)|
s3-n6|idle~|gpu:8|gpu:0|
s3-n7|planned|(null)|(null)|
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4:58", 298),
        ("1:00:00", 3600),
        ("2-03:04:05", 183845),
        ("1-12", 129600),
        ("0:00", 0),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("NOT_SET", None),
        ("N/A", None),
        ("", None),
        ("-1:00", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert times.duration(text) == seconds


def test_moments() -> None:
    local = datetime(2026, 11, 21, 15, 18, 25).astimezone().timestamp()

    assert times.moment("1795274305") == 1795274305
    assert times.moment("2026-11-21T15:18:25") == local
    assert [times.moment(word) for word in ("N/A", "Unknown", "NONE", "", "0")] == [None] * 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "00:01:00"), (60, "00:01:00"), (60.5, "00:02:00"), (86400, "24:00:00")],
)
def test_a_walltime_is_whole_minutes(seconds: float, text: str) -> None:
    assert times.walltime(seconds) == text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("(null)", []),
        ("n1", ["n1"]),
        ("n[1-3,5]", ["n1", "n2", "n3", "n5"]),
        ("gpu[08-10],login1", ["gpu08", "gpu09", "gpu10", "login1"]),
        ("r[1-2]n[1-2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
    ],
)
def test_lists_of_nodes(text: str, names: list[str]) -> None:
    assert list(node_list.expand(text)) == names


@pytest.mark.parametrize("text", ["n[1-", "n[a-b]", "n[1],,n2", "]["])
def test_a_broken_list_of_nodes_is_an_error(text: str) -> None:
    with pytest.raises(DriverFailed, match="not understood"):
        node_list.expand(text)


def test_jobs_are_read_and_lines_of_a_comment_passed_over() -> None:
    waiting, foreign, running, array = squeue.read(QUEUE)

    assert (waiting.job_id, waiting.state, waiting.reason) == ("3", "PENDING", "Resources")
    assert (waiting.nodes, waiting.starts_at, waiting.submitted_at) == ((), 1795274605, 1795274305)
    assert (waiting.folder, waiting.comment) == ("/s", OURS)
    assert foreign.comment == "a|b"
    assert (running.nodes, running.left_s, running.limit_s) == (("s3-n1", "s3-n2"), 298, 300)
    assert (running.ends_at, running.reason) == (1795274605, "")
    assert (array.left_s, array.starts_at) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "garbage\n", "|||||||||||\n", "x|RUNNING|p|n|1|1|1|r|s|v|z|c\n"]
)
def test_what_is_no_job_is_none(text: str) -> None:
    assert squeue.read(text) == []


def test_waiting_jobs_count_in_each_of_their_partitions() -> None:
    jobs = squeue.read_waiting("9|gpu|10\n12_[0-5]|gpu,hot|30\nCLUSTER: a\n8|gpu|10\n")

    assert sorted([job.job_id for job in jobs if job.partition == "gpu"]) == ["12_[0-5]", "8", "9"]
    assert [job.job_id for job in sorted(jobs, key=lambda job: job.rank)][-2:] == ["8", "9"]
    assert [job.job_id for job in jobs if job.partition == "hot"] == ["12_[0-5]"]


def test_nodes_are_counted_once_and_by_what_they_can_give() -> None:
    nodes = {node.name: node for node in sinfo.read(NODES)}

    assert {name: (node.gpus, node.free_gpus) for name, node in nodes.items()} == {
        "s3-n1": (4, 1),
        "s3-n2": (4, 0),
        "s3-n3": (4, 4),
        "s3-n4": (4, 0),
        "s3-n5": (4, 0),
        "s3-n6": (8, 8),
        "s3-n7": (0, 0),
    }
    assert {name for name, node in nodes.items() if node.down} == {"s3-n2", "s3-n4"}


def test_only_the_named_partitions_are_asked_for() -> None:
    assert "--partition=a,b" in sinfo.arguments({"b", "a"})
    assert not any("--partition" in part for part in sinfo.arguments(()))
    assert "--clusters=c" in sinfo.arguments((), "c")
    assert "--clusters=c" in squeue.arguments("c")


@pytest.mark.parametrize(
    ("said", "start"),
    [
        (
            "sbatch: Job 5 to start at 1795274665 using 1 processors on nodes s3-n2 in partition g",
            1795274665,
        ),
        ("allocation failure: Requested node configuration is not available", None),
        ("sbatch: Job 7 to start at N/A using 1 processors", None),
    ],
)
def test_the_start_of_a_job_that_is_not_submitted(said: str, start: float | None) -> None:
    assert sbatch_test_only.read(said) == start


def test_the_end_of_a_job() -> None:
    said = (
        "JobId=1 JobName=x StartTime=1795274305 EndTime=1795274605 Deadline=N/A Comment=EndTime=1"
    )

    assert scontrol_job.read(said) == 1795274605
    assert scontrol_job.read("JobId=1 EndTime=Unknown") is None
    assert scontrol_job.arguments("7") == ["scontrol", "--oneliner", "show", "job", "7"]


@pytest.mark.parametrize(
    ("value", "sees"), [("none", True), ("jobs,usage", False), ("accounts,users", True)]
)
def test_whether_other_people_s_jobs_are_seen(value: str, sees: bool) -> None:
    text = f"Configuration data\nPrioritySiteFactor = 0\nPrivateData             = {value}\nX = y\n"

    assert scontrol_config.read_sees_all_jobs(text) is sees


SBATCH = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    "why",
    [
        "Invalid account or account/partition combination specified",
        "Requested node configuration is not available",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Invalid qos specification",
    ],
)
def test_what_the_controller_refused_is_no_job(why: str) -> None:
    assert sbatch.refuses(SBATCH + why)
    assert sbatch.refuses(f"sbatch: error: AssocGrpSubmitJobsLimit {SBATCH}{why}")


@pytest.mark.parametrize(
    "why",
    [
        "Socket timed out on send/recv operation",
        "Unable to contact slurm controller (connect failure)",
        "Zero Bytes were transmitted or received",
        "Slurm backup controller in standby mode",
        "Some words of a later version",
        "",
    ],
)
def test_after_any_other_complaint_there_may_be_a_job(why: str) -> None:
    assert not sbatch.refuses(SBATCH + why)


def test_words_that_sbatch_does_not_say_of_a_submission_are_no_refusal() -> None:
    assert not sbatch.refuses("Requested node configuration is not available")
