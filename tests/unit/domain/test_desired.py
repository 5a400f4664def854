"""What is desired of a site, made of the catalog and of what operators said since."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract import FOR_BATCHES, DesiredModel, DesiredState
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.catalog import Catalog, Deployment
from resource_server.domain.desired import desired_state
from resource_server.domain.upkeep import Override, Upkeep, Wish
from tests.support.catalogs import cluster, model

UPKEEP = Upkeep(gpus=4, walltime_s=3600, min=1, max=3, priority=5)


def kept(name: str, *, at: str = "local", upkeep: Upkeep | None = UPKEEP):
    place = Deployment(cluster=at, framework="vllm", upkeep=upkeep)
    return replace(model(name), deployments=(place,))


def state(*overrides: Override) -> DesiredState:
    catalog = Catalog([cluster()], [kept("a/b")], overrides=overrides, generation=3, version=41)
    return desired_state(catalog, "local")


def bounds(*wishes: Wish) -> tuple[int, int]:
    said = Override(model="a/b", cluster="local")
    for at, wish in enumerate(wishes):
        said = said.told(wish, now=100.0 + at, instances=2)
    (one,) = state(said).models
    return one.min, one.max


def test_it_holds_the_managed_models_of_the_one_cluster_in_a_fixed_order():
    models = [kept("z/z"), kept("a/a"), kept("b/b", at="other"), kept("c/c", upkeep=None)]
    desired = desired_state(Catalog([cluster()], models, generation=2, version=7), "local")
    assert desired.version == (2, 7)
    assert [(one.model, one.framework) for one in desired.models] == [
        ("a/a", "vllm"),
        ("z/z", "vllm"),
    ]
    (first, _) = desired.models
    assert (first.min, first.max, first.gpus, first.priority) == (1, 3, 4, 5)


@pytest.mark.row("C-59", "C-60")
@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ((), (1, 3)),
        ((Wish.PIN,), (2, 3)),
        ((Wish.PIN, Wish.UNPIN), (1, 3)),
        ((Wish.UNLOAD,), (0, 3)),
        ((Wish.UNLOAD, Wish.LOAD), (1, 3)),
        ((Wish.PIN, Wish.UNLOAD), (0, 3)),
        ((Wish.UNLOAD, Wish.PIN), (2, 3)),
        ((Wish.DISABLE,), (0, 0)),
        ((Wish.PIN, Wish.DISABLE), (0, 0)),
        ((Wish.DISABLE, Wish.ENABLE), (1, 3)),
    ],
)
def test_operators_words_change_how_many_there_are_to_be(wishes, expected):
    assert bounds(*wishes) == expected


def test_a_pin_is_worth_more_than_the_files_max():
    said = Override(model="a/b", cluster="local").told(Wish.PIN, now=1.0, instances=5)
    (one,) = state(said).models
    assert (one.min, one.max) == (5, 5)


def test_the_site_learns_when_a_model_was_unloaded():
    said = Override(model="a/b", cluster="local").told(Wish.UNLOAD, now=1234.5)
    assert state(said).models[0].unloaded_at == 1234.5
    assert state(said.told(Wish.LOAD, now=1300.0)).models[0].unloaded_at == 1234.5


def test_what_was_said_of_another_cluster_does_not_count():
    assert state(Override(model="a/b", cluster="other", disabled=True)).models[0].max == 3


@given(st.lists(st.sampled_from(Wish), max_size=8))
def test_whatever_is_said_the_site_can_read_it(wishes):
    said = Override(model="a/b", cluster="local")
    for wish in wishes:
        said = said.told(wish, now=5.0)
    desired = state(said)
    assert DesiredState.from_wire(desired.to_wire()) == desired


BATCHES = BatchOffer(groups=frozenset({"g"}))
ALONE = Upkeep(gpus=4, walltime_s=7200, min=0, max=2, idle_timeout_s=60, priority=5, refresh=False)


def for_batches(*overrides: Override, offer: BatchOffer | None = BATCHES) -> list[DesiredModel]:
    """Return what is desired for batches alone of a model, and check the rest."""
    place = Deployment(cluster="local", framework="vllm", upkeep=UPKEEP, batch_upkeep=ALONE)
    other = kept("c/d", upkeep=replace(UPKEEP, min=0, priority=-1_000_000))
    models = [replace(model("a/b"), deployments=(place,)), other]
    taking = replace(cluster(), batches=offer)
    desired = desired_state(Catalog([taking], models, overrides=overrides), "local").models
    assert [one.model for one in desired if not one.purpose] == ["a/b", "c/d"]
    found = [one for one in desired if one.purpose]
    # Callers of whatever model come first.
    assert all(one.priority < two.priority for one in found for two in desired if not two.purpose)
    return found


def test_a_model_is_desired_for_batches_beside_its_callers():
    (one,) = for_batches()
    assert (one.model, one.framework, one.purpose) == ("a/b", "vllm", FOR_BATCHES)
    assert (one.min, one.max, one.gpus, one.walltime_s) == (0, 2, 4, 7200)
    assert (one.idle_timeout_s, one.refresh) == (60, False)


def test_where_no_batches_are_taken_nothing_is_for_them():
    assert for_batches(offer=None) == []


def test_what_operators_keep_up_is_for_callers_and_what_they_end_is_ended():
    said = Override(model="a/b", cluster="local")
    (pinned,) = for_batches(said.told(Wish.PIN, now=1.0, instances=3))
    assert (pinned.min, pinned.max) == (0, 2)
    (unloaded,) = for_batches(said.told(Wish.UNLOAD, now=9.0))
    assert (unloaded.max, unloaded.unloaded_at) == (2, 9.0)
    (disabled,) = for_batches(said.told(Wish.DISABLE, now=9.0))
    assert (disabled.min, disabled.max) == (0, 0)
