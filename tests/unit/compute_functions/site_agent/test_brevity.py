"""A site with more instances than a hub takes in one report."""

from __future__ import annotations

import time
from dataclasses import replace

from compute_functions.contract import InstanceState, ModelOutlook, SiteStatus, site_link
from compute_functions.contract.site_link import MessageKind
from compute_functions.site_agent.brevity import MOST_WORDS, brief
from tests.support.relay_site import FRAMEWORK, MODEL
from tests.support.site_links import instance, status


def size(found: SiteStatus) -> int:
    return len(site_link.message(MessageKind.OBSERVED, found).encode())


def many(count: int, state: InstanceState) -> SiteStatus:
    return status(
        *(replace(instance(state), name=f"i-{n}", started_at=time.time() + n) for n in range(count))
    )


def test_what_fits_is_whole() -> None:
    for count in (3, 900):
        found = many(count, InstanceState.READY)
        assert brief(found).status == found
        assert brief(found).left_out == ""


def test_one_with_the_longest_words_fits_the_hubs_limit() -> None:
    found = many(500, InstanceState.FAILED)
    wordy = [replace(one, detail="\u2603" * 100_000) for one in found.instances]

    short = brief(replace(found, instances=tuple(wordy)))

    assert len(short.status.instances) == 500
    assert {len(one.detail) for one in short.status.instances} == {MOST_WORDS}
    assert size(short.status) <= site_link.MOST_MESSAGE


def test_what_has_ended_long_ago_is_left_out_first() -> None:
    alive, ended = many(400, InstanceState.READY), many(400, InstanceState.STOPPED)
    found = replace(alive, instances=(*ended.instances, *alive.instances))
    most = int(size(found) * 0.75)

    short = brief(found, most=most)

    assert size(short.status) <= most
    kept = short.status.instances
    assert set(alive.instances) < set(kept)
    over = [one for one in kept if one.state is InstanceState.STOPPED]
    assert 100 < len(over) < 300
    assert set(over) == set(ended.instances[-len(over) :])
    assert short.left_out == (
        f"the report is too long: {800 - len(kept)} instances and 0 models are left out of it"
    )


def test_without_any_instance_models_are_left_out() -> None:
    outlooks = [ModelOutlook(model=f"{MODEL}-{n}", framework=FRAMEWORK) for n in range(1000)]
    found = replace(many(9, InstanceState.READY), outlooks=tuple(outlooks))
    most = size(found) // 2

    short = brief(found, most=most)

    assert size(short.status) <= most
    assert short.status.instances == ()
    assert 300 < len(short.status.outlooks) < 600
    assert "9 instances" in short.left_out
