"""What is known of instances that are ready by their site's word and that no request reaches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from compute_functions.contract import InstanceState
from resource_server.domain.lifecycle import Observation, Reach, SiteView
from resource_server.services.impasses import FORGOTTEN_S, LOG_EVERY_S, SETTLES_S, Impasses
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance

PLACE = ("a", FRAMEWORK, MODEL)
POST = (FRAMEWORK, MODEL)
READY = SiteView(
    cluster="a",
    reach=Reach.LINKED,
    observation=Observation(observed_at=0.0, instances=(instance(),)),
    ready=frozenset({POST}),
)


class Clock:
    """Stands still until it is set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_it_lasts_from_the_first_refusal_to_the_first_answer():
    clock = Clock()
    impasses = Impasses(clock=clock)
    assert impasses.for_s(PLACE, READY) is None
    impasses.note(PLACE, READY)
    clock.now += 10
    impasses.note(PLACE, READY)
    assert impasses.for_s(PLACE, READY) == 10
    impasses.clear(PLACE)
    assert impasses.for_s(PLACE, READY) is None


def test_an_old_one_of_which_nobody_has_heard_since_is_forgotten():
    clock = Clock()
    impasses = Impasses(clock=clock)
    impasses.note(PLACE, READY)
    clock.now += FORGOTTEN_S + 1
    assert impasses.for_s(PLACE, READY) is None
    impasses.note(PLACE, READY)
    assert impasses.for_s(PLACE, READY) == 0


@pytest.mark.parametrize(
    "view",
    [
        replace(READY, ready=frozenset()),
        # A relay takes requests, and the site has not said of which instance it is.
        replace(READY, observation=None),
        replace(
            READY,
            observation=Observation(observed_at=0.0, instances=(instance(InstanceState.DRAINING),)),
        ),
    ],
)
def test_a_refusal_counts_only_where_an_instance_is_ready(view: SiteView):
    impasses = Impasses()
    impasses.note(PLACE, view)
    assert impasses.for_s(PLACE, READY) is None
    impasses.note(PLACE, READY)
    assert impasses.for_s(PLACE, view) is None


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    caplog.set_level(logging.INFO)
    return lambda: caplog.records


def test_the_operators_hear_of_it_once_a_minute(events: Callable[[], list[logging.LogRecord]]):
    clock = Clock()
    impasses = Impasses(clock=clock)
    # A relay links a moment after its instance is ready.
    impasses.note(PLACE, READY)
    assert not events()
    clock.now += SETTLES_S
    for _ in range(4):
        impasses.note(PLACE, READY)
        clock.now += LOG_EVERY_S / 4
    (said,) = events()
    assert (said.getMessage(), said.levelname) == ("instance_not_reached", "WARNING")
    assert (said.__dict__["cluster"], said.__dict__["model"]) == ("a", MODEL)
    assert said.__dict__["jobs"] == ["7"]
    impasses.note(PLACE, READY)
    assert len(events()) == 2
    impasses.clear(PLACE)
    assert [one.getMessage() for one in events()[2:]] == ["instance_reached_again"]


def test_what_nobody_heard_of_ends_in_silence(events: Callable[[], list[logging.LogRecord]]):
    impasses = Impasses()
    impasses.note(PLACE, READY)
    impasses.clear(PLACE)
    assert not events()
