"""What a site's file may say of the ways to it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_spec import SiteSpec
from resource_server.domain.catalog import DirectTarget

ID = "7b5a0c0e-0000-4000-8000-00000000000"
COMPUTE = {
    "client": "local",
    "endpoint_id": f"{ID}1",
    "functions": {"run_request": f"{ID}2", "site_status": f"{ID}3"},
}
RELAY = {"public_key": base64.b64encode(bytes(32)).decode()}
DIRECT = {"vllm": {"direct": {"url": "http://node1:8000"}}}


def read(**fields: Any) -> SiteSpec:
    return SiteSpec.model_validate({"cluster": "c", "frameworks": {"vllm": {}}} | fields)


def mistake(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    (problem,) = caught.value.errors()
    return ".".join(map(str, problem["loc"])) + ": " + problem["msg"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"globus_compute": COMPUTE}, ("task",)),
        ({"globus_compute": COMPUTE, "relay": RELAY}, ("relay", "task")),
        ({"frameworks": DIRECT}, ("direct",)),
        (
            {"globus_compute": COMPUTE, "relay": RELAY, "frameworks": DIRECT},
            ("relay", "direct", "task"),
        ),
        ({"globus_compute": COMPUTE, "relay": RELAY, "transports": ["task"]}, ("task",)),
        (
            {"globus_compute": COMPUTE, "relay": RELAY, "transports": ["task", "relay"]},
            ("task", "relay"),
        ),
    ],
)
def test_the_ways_are_those_that_are_named_or_else_all_there_are(fields, expected):
    spec = read(**fields)
    assert spec.to_domain().transports == expected
    # What is in the database reads as it was written.
    assert SiteSpec.model_validate(spec.to_row()).to_domain() == spec.to_domain()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "there is no way"),
        ({"globus_compute": COMPUTE, "transports": ["relay"]}, "needs the field relay"),
        ({"relay": RELAY, "transports": ["task"]}, "needs the field globus_compute"),
        ({"globus_compute": COMPUTE, "transports": ["direct"]}, "direct of a framework"),
        ({"globus_compute": COMPUTE, "transports": ["task", "task"]}, "twice"),
        ({"globus_compute": COMPUTE, "transports": ["post"]}, "'relay', 'task' or 'direct'"),
    ],
)
def test_a_way_that_cannot_be_is_a_mistake(fields, expected):
    said = mistake(**fields)
    assert said.startswith("transports")
    assert expected in said


def test_another_mistake_is_not_followed_by_one_about_ways():
    assert mistake(globus_compute={**COMPUTE, "client": "no name"}).startswith("globus_compute")


def test_a_site_may_be_said_to_have_no_egress():
    for push in (True, False):
        target = read(globus_compute=COMPUTE | {"push": push}).to_domain().globus_compute
        assert target is not None
        assert target.push is push


def direct(**fields: Any) -> DirectTarget:
    spec = read(frameworks={"vllm": {"direct": {"url": "https://engine.example.org"} | fields}})
    target = spec.to_domain().frameworks["vllm"].direct
    assert target is not None
    return target


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://api.example.org/v1", "https://api.example.org"),
        ("https://api.example.org/base/v1/", "https://api.example.org/base"),
        ("http://node1:8000", "http://node1:8000"),
    ],
)
def test_an_address_stands_before_v1(written, expected):
    assert direct(url=written).url == expected


def test_everything_of_a_target_is_kept():
    target = direct(
        api_key_file="/run/secrets/key",
        ca_file="/etc/ca.pem",
        client_certificate="/etc/client.pem",
        client_key="/run/secrets/client.key",
        headers={"X-Tenant": "us"},
        models={"ours/m": "Theirs"},
    )
    assert target == DirectTarget(
        url="https://engine.example.org",
        api_key_file="/run/secrets/key",
        ca_file="/etc/ca.pem",
        client_certificate="/etc/client.pem",
        client_key="/run/secrets/client.key",
        headers={"X-Tenant": "us"},
        models={"ours/m": "Theirs"},
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "https://user:secret@x"}, "url"),
        ({"url": "https://x/?a=b"}, "url"),
        ({"url": "http://["}, "url"),
        ({"api_key_file": "key"}, "absolute"),
        ({"client_certificate": "/etc/client.pem"}, "go together"),
        ({"client_key": "/etc/client.key"}, "go together"),
        ({"headers": {"Authorization": "Bearer x"}}, "api_key_file"),
        ({"headers": {"x": "a\nb"}}, "no header"),
        ({"headers": {"a b": "c"}}, "no header"),
        ({"key": "x"}, "key"),
    ],
)
def test_what_is_no_target_is_a_mistake(fields, expected):
    said = mistake(frameworks={"vllm": {"direct": {"url": "https://x"} | fields}})
    assert said.startswith("frameworks.vllm.direct")
    assert expected in said
    assert "secret" not in said
