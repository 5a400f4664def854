"""What a site's file may say of batches."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_spec import SiteSpec
from resource_server.domain.batch_offer import BatchOffer

GROUP = "11111111-1111-4111-8111-111111111111"
OTHER = "11111111-1111-4111-8111-111111111112"
FUNCTIONS = dict.fromkeys(("run_request", "site_status", "run_batch", "batch_file"), GROUP)
COMPUTE = {"client": "c", "endpoint_id": GROUP, "functions": FUNCTIONS}
#: The base64 of a public key's 32 bytes.
KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def read(batches: Any, **fields: Any) -> BatchOffer | None:
    values = {"cluster": "c", "frameworks": {"vllm": {}}, "globus_compute": COMPUTE}
    spec = SiteSpec.model_validate(values | {"batches": batches} | fields)
    found = spec.to_domain()
    # What is in the database reads as it was written.
    assert SiteSpec.model_validate(spec.to_row()).to_domain() == found
    return found.batches


def mistake(batches: Any, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(batches, **fields)
    (problem,) = caught.value.errors()
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"].removeprefix("Value error, ")


def test_a_site_takes_no_batches_unless_it_says_so():
    assert read(None) is None


@pytest.mark.row("C-40", "C-41")
def test_what_is_left_out_is_as_at_alcf():
    assert read({"groups": [GROUP]}) == BatchOffer(
        groups=frozenset({GROUP}), most_active=5, most_lines=150_000, most_bytes=2_000_000_000
    )


def test_all_that_can_be_said():
    said = {
        "groups": [GROUP, OTHER],
        "most_active": 2,
        "most_lines": 10,
        "most_bytes": 1000,
        "most_inputs": 20,
        "weights": {OTHER: 2.5},
        "projects": ["OPEN-30-1"],
        "project_weights": {"OPEN-30-1": 2, "OPEN-30-2": 0.5},
    }
    assert read(said) == BatchOffer(
        groups=frozenset({GROUP, OTHER}),
        most_active=2,
        most_lines=10,
        most_bytes=1000,
        most_inputs=20,
        weights={OTHER: 2.5},
        projects=frozenset({"OPEN-30-1"}),
        project_weights={"OPEN-30-1": 2.0, "OPEN-30-2": 0.5},
    )


@pytest.mark.row("C-41")
def test_projects_will_do_without_groups():
    assert read({"projects": ["OPEN-30-1"]}) == BatchOffer(projects=frozenset({"OPEN-30-1"}))


@pytest.mark.parametrize(
    ("batches", "where"),
    [
        ({}, "batches.groups: for whom are batches? Name Globus groups or projects"),
        ({"groups": []}, "batches.groups: for whom are batches? Name Globus groups or projects"),
        ({"projects": []}, "batches.groups: for whom are batches? Name Globus groups or projects"),
        ({"projects": ["a/b"]}, "batches.projects.0: must be 1 to 64 letters"),
        ({"groups": [GROUP], "project_weights": {"p": 0}}, "batches.project_weights.p: "),
        ({"groups": ["x"]}, "batches.groups.0: Input should be a valid UUID"),
        ({"groups": [GROUP], "most_active": 0}, "batches.most_active: "),
        ({"groups": [GROUP], "most_lines": 1_000_001}, "batches.most_lines: "),
        ({"groups": [GROUP], "weights": {GROUP: 0}}, f"batches.weights.{GROUP}: "),
        ({"groups": [GROUP], "most": 1}, "batches.most: Extra inputs are not permitted"),
    ],
)
def test_mistakes_are_named(batches: Any, where: str) -> None:
    assert mistake(batches).startswith(where)


def test_a_site_that_nobody_can_speak_with_takes_none():
    direct = {"vllm": {"direct": {"url": "http://node"}}}
    said = mistake({"groups": [GROUP]}, globus_compute=None, frameworks=direct)
    assert said == "batches: needs the field relay or globus_compute: nobody there can be told"


def test_by_tasks_alone_its_functions_must_be_registered():
    old = COMPUTE | {"functions": {"run_request": GROUP, "site_status": GROUP}}
    said = mistake({"groups": [GROUP]}, globus_compute=old)
    assert said == "batches: not registered: batch_file, run_batch"
    assert read({"groups": [GROUP]}, globus_compute=old, relay={"public_key": KEY})


def test_the_offer_is_for_members_of_its_groups_and_weighs_the_heaviest():
    offer = BatchOffer(groups=frozenset({"a"}), weights={"a": 2.0, "b": 0.5})
    assert offer.is_for(frozenset({"a", "z"}))
    assert not offer.is_for(frozenset({"b"}))
    assert offer.weight(frozenset({"a", "b"})) == 2.0
    assert offer.weight(frozenset({"b"})) == 0.5
    assert offer.weight(frozenset()) == 1.0


def test_below_a_project_the_offer_is_for_its_members_too_and_the_project_s_weight_counts():
    offer = BatchOffer(
        groups=frozenset({"a"}),
        projects=frozenset({"p"}),
        weights={"a": 2.0},
        project_weights={"p": 5.0},
    )
    assert offer.is_for(frozenset(), "p")
    assert offer.is_for(frozenset({"a"}), "q")
    assert not offer.is_for(frozenset(), "q")
    assert not offer.is_for(frozenset())
    assert offer.weight(frozenset({"a"}), "p") == 5.0
    assert offer.weight(frozenset({"a"}), "q") == 1.0
    assert offer.weight(frozenset({"a"})) == 2.0
