"""What is taken of a site's report: no word, time or number that could hurt whoever sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compute_functions.contract import (
    FOR_BATCHES,
    AgentReport,
    Instance,
    InstanceState,
    ModelOutlook,
    SiteStatus,
)
from resource_server.domain.lifecycle import instances_at
from resource_server.domain.report import FARTHEST_S, SHOWN, observed

NOW = 1_800_000_000.0
INSTANCE = Instance(
    model="a/b",
    framework="vllm",
    state=InstanceState.READY,
    job_id="1",
    host="n1",
    started_at=NOW - 60,
    detail="fine",
    submitted_at=NOW - 100,
    ready_at=NOW - 5,
    ends_at=NOW + 600,
    walltime_s=3600.0,
    running=2.0,
    waiting=0.0,
    gpu_percent=99.5,
)
OUTLOOK = ModelOutlook(model="a/b", framework="vllm", queue_s=1.0, load_s=2.0)


def taken(**fields: Any) -> Instance:
    status = SiteStatus(observed_at=NOW, instances=(replace(INSTANCE, **fields),))
    (found,) = observed(status, now=NOW).instances
    return found


def test_what_is_in_order_stays_as_it_is():
    status = SiteStatus(observed_at=NOW + 3, instances=(INSTANCE,), outlooks=(OUTLOOK,))
    found = observed(status, now=NOW)
    assert (found.instances, found.outlooks) == ((INSTANCE,), (OUTLOOK,))
    assert (found.observed_at, found.ahead_s) == (NOW, 3.0)


@pytest.mark.parametrize("name", ["job_id", "host", "name", "detail", "reason"])
def test_words_are_one_line_and_not_long(name: str):
    found = getattr(taken(**{name: "a\r\n\x1b[31mb\x00\u202ec" + "d" * 10_000}), name)
    assert found.startswith("a   [31mb  cd")
    assert found.isprintable()
    assert len(found) == SHOWN


@pytest.mark.parametrize("name", ["submitted_at", "ready_at", "ends_at"])
@pytest.mark.parametrize("at", [9e14, -9e14, NOW + FARTHEST_S + 1])
def test_times_that_no_calendar_has_are_not_known(name: str, at: float):
    assert getattr(taken(**{name: at}), name) is None


def test_a_start_that_cannot_be_is_now():
    assert taken(started_at=9e14).started_at == NOW


@pytest.mark.row("L-14")
def test_no_gpu_is_busier_than_all_the_time():
    assert taken(gpu_percent=100.0).gpu_percent == 100.0
    assert taken(gpu_percent=100.1).gpu_percent is None


@pytest.mark.parametrize("name", ["walltime_s", "running", "waiting", "gpu_percent"])
def test_nothing_is_less_than_nothing(name: str):
    assert getattr(taken(**{name: -1.0}), name) is None


def test_estimates_and_sentences_of_outlooks_are_looked_at_too():
    hostile = replace(OUTLOOK, queue_s=-5.0, load_s=9e14, refused="a\nb", waits="c\x00" * 1000)
    (found,) = observed(SiteStatus(observed_at=NOW, outlooks=(hostile,)), now=NOW).outlooks
    assert (found.queue_s, found.load_s, found.refused) == (None, None, "a b")
    assert len(found.waits) == SHOWN
    assert found.waits.isprintable()


def test_so_are_the_words_of_the_agent():
    agent = AgentReport(host="h\n", pid=1, fence=1, started_at=0.0, version="1", trouble="x\ny")
    found = observed(SiteStatus(observed_at=NOW, agent=agent), now=NOW).agent
    assert found is not None
    assert (found.host, found.trouble) == ("h ", "x y")


def test_a_models_instances_are_found_among_all():
    many = tuple(replace(INSTANCE, model=f"m{at % 7}", job_id=str(at)) for at in range(70))
    found = observed(SiteStatus(observed_at=NOW, instances=many), now=NOW)
    assert [one.job_id for one in instances_at(found, ("vllm", "m3"))] == [
        str(at) for at in range(70) if at % 7 == 3
    ]
    assert instances_at(found, ("vllm", "m")) == ()


def test_what_is_not_for_callers_is_told_apart():
    """Whatever looks at a model's instances sees those that answer callers, and no others."""
    alone = replace(INSTANCE, name="b", purpose=FOR_BATCHES)
    status = SiteStatus(
        observed_at=NOW,
        instances=(alone, INSTANCE, replace(alone, purpose="training")),
        outlooks=(replace(OUTLOOK, purpose=FOR_BATCHES, refused="no"), OUTLOOK),
    )
    found = observed(status, now=NOW)
    assert (found.instances, found.for_batches) == ((INSTANCE,), (alone,))
    assert found.outlooks == (OUTLOOK,)
