"""What is desired of a site, made of the catalog and of what operators said since."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute_functions.contract import DesiredState
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
