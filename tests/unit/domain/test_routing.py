from __future__ import annotations

from dataclasses import replace

import pytest

from resource_server.domain import errors
from resource_server.domain.catalog import AccessRule, Catalog, Project
from resource_server.domain.routing import Base, choose, names_at
from tests.support.catalogs import cluster, members, model
from tests.support.doubles import person

ALICE = person("alice@example.org")
MEMBER = person("bob@example.org", "group-1")
CLOSED = members("group-1")


def places(catalog, base, name="a/b", who=ALICE):
    choice = choose(catalog, who, base, name)
    return [(place.cluster.name, place.framework.name) for place in choice.destinations]


def names(catalog, base, who=ALICE):
    return [named.name for named in names_at(catalog, who, base)]


def test_a_cluster_s_url_leads_to_the_framework_it_names():
    catalog = Catalog([cluster("x"), cluster("y")], [model("a/b", "y", "x/infinity", "x/vllm")])
    found = places(catalog, Base(cluster="x", framework="vllm"))
    assert found == [("x", "vllm"), ("x", "infinity")]


@pytest.mark.row("C-33")
def test_another_framework_of_the_cluster_will_do():
    catalog = Catalog([cluster()], [model("a/b", "local/infinity")])
    base = Base(cluster="local", framework="vllm")
    assert places(catalog, base) == [("local", "infinity")]
    assert names(catalog, base) == []
    assert names(catalog, Base(cluster="local", framework="infinity")) == ["a/b"]


def test_a_model_of_another_cluster_is_not_at_this_one():
    catalog = Catalog([cluster("x"), cluster("y")], [model("a/b", "y")])
    with pytest.raises(errors.ModelNotFound):
        choose(catalog, ALICE, Base(cluster="x", framework="vllm"), "a/b")


@pytest.mark.parametrize(
    ("base", "error"),
    [
        (Base(cluster="z", framework="vllm"), errors.ClusterNotFound),
        (Base(cluster="x", framework="z"), errors.FrameworkNotFound),
        (Base(cluster="closed", framework="vllm"), errors.Forbidden),
    ],
)
def test_a_url_that_names_no_place_of_ours_is_refused(base, error):
    catalog = Catalog([cluster("x"), cluster("closed", access=CLOSED)], [model("a/b", "x")])
    with pytest.raises(error):
        choose(catalog, ALICE, base, "a/b")
    with pytest.raises(error):
        names_at(catalog, ALICE, base)


def test_a_url_without_a_cluster_leads_to_every_place_in_the_order_of_the_file():
    catalog = Catalog([cluster("x"), cluster("y")], [model("a/b", "y", "x")])
    assert places(catalog, Base()) == [("y", "vllm"), ("x", "vllm")]


def test_places_under_maintenance_come_last():
    clusters = [cluster("x", maintenance="until noon"), cluster("y")]
    catalog = Catalog(clusters, [model("a/b", "x", "y")])
    assert places(catalog, Base()) == [("y", "vllm"), ("x", "vllm")]


def test_a_url_without_a_cluster_leads_to_no_cluster_that_the_person_may_not_use():
    catalog = Catalog(
        [cluster("x", access=CLOSED), cluster("y")], [model("a/b", "x", "y"), model("c/d", "x")]
    )
    assert places(catalog, Base()) == [("y", "vllm")]
    assert places(catalog, Base(), who=MEMBER) == [("x", "vllm"), ("y", "vllm")]
    assert names(catalog, Base()) == ["a/b"]
    with pytest.raises(errors.ModelNotFound):
        choose(catalog, ALICE, Base(), "c/d")


def test_a_deployment_whose_cluster_is_gone_leads_nowhere():
    catalog = Catalog([cluster("x")], [model("a/b", "gone", "x"), model("c/d", "gone")])
    assert places(catalog, Base()) == [("x", "vllm")]
    assert names(catalog, Base()) == ["a/b"]


@pytest.mark.row("U-6")
def test_an_alias_leads_to_its_model_and_is_listed_beside_it():
    catalog = Catalog([cluster()], [model("a/b", aliases={"short": {}})])
    choice = choose(catalog, ALICE, Base(), "short")
    assert (choice.named.name, choice.named.model.id) == ("short", "a/b")
    assert names(catalog, Base()) == ["a/b", "short"]


@pytest.mark.row("C-38")
def test_a_private_model_is_absent_under_all_its_names():
    catalog = Catalog([cluster()], [model("a/b", aliases={"short": {}}, access=CLOSED)])
    for name in ("a/b", "short"):
        with pytest.raises(errors.ModelNotFound):
            choose(catalog, ALICE, Base(), name)
        assert choose(catalog, MEMBER, Base(), name).named.name == name
    assert names(catalog, Base()) == []


def test_an_id_comes_before_another_model_s_alias_of_the_same_name():
    catalog = Catalog([cluster()], [model("a/b", aliases={"c/d": {}}), model("c/d")])
    assert choose(catalog, ALICE, Base(), "c/d").named.model.id == "c/d"


@pytest.mark.row("L-11")
def test_a_project_leads_its_members_to_its_models():
    catalog = Catalog(
        [cluster()],
        [model("a/b"), model("c/d")],
        [Project(name="p1", models=frozenset({"a/b"}), access=CLOSED)],
    )
    base = Base(project="p1")
    assert places(catalog, base, who=MEMBER) == [("local", "vllm")]
    assert names(catalog, base, who=MEMBER) == ["a/b"]
    with pytest.raises(errors.ModelNotFound):
        choose(catalog, MEMBER, base, "c/d")


def test_a_project_without_models_leads_to_all_that_its_members_may_use():
    projects = [Project(name="p1", access=CLOSED)]
    catalog = Catalog([cluster()], [model("a/b"), model("c/d", access=members("other"))], projects)
    assert names(catalog, Base(project="p1"), who=MEMBER) == ["a/b"]


@pytest.mark.parametrize("name", ["p1", "absent"])
def test_a_project_is_absent_for_others(name):
    catalog = Catalog([cluster()], [model("a/b")], [Project(name="p1", access=CLOSED)])
    with pytest.raises(errors.ProjectNotFound, match=name):
        choose(catalog, ALICE, Base(project=name), "a/b")
    with pytest.raises(errors.ProjectNotFound, match=name):
        names_at(catalog, ALICE, Base(project=name))


FRESH = AccessRule(login_max_age_s=60)
LATER = replace(ALICE, as_of=ALICE.as_of + 61)


def test_places_that_take_a_better_login_are_left_out_unless_there_are_no_others():
    catalog = Catalog(
        [cluster("x", access=FRESH), cluster("y")], [model("a/b", "x", "y"), model("c/d", "x")]
    )
    assert places(catalog, Base(), who=LATER) == [("y", "vllm")]
    assert places(catalog, Base()) == [("x", "vllm"), ("y", "vllm")]
    assert names(catalog, Base(), who=LATER) == ["a/b", "c/d"]
    with pytest.raises(errors.ReauthenticationRequired):
        choose(catalog, LATER, Base(), "c/d")


def test_a_project_that_takes_a_better_login_says_so():
    catalog = Catalog([cluster()], [model("a/b")], [Project(name="p1", access=FRESH)])
    with pytest.raises(errors.ReauthenticationRequired, match="p1"):
        choose(catalog, LATER, Base(project="p1"), "a/b")
