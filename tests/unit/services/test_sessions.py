from __future__ import annotations

import json

import pytest

from resource_server.api.json_body import JsonBody
from resource_server.services.sessions import CacheSalts, affinity_of
from tests.support.doubles import person

ALICE, BOB = person("alice@example.org"), person("bob@example.org")
SYSTEM = {"role": "system", "content": "Be {brief}."}
FIRST = {"role": "user", "content": "Where is Paris?"}
MORE = [{"role": "assistant", "content": "In France."}, {"role": "user", "content": "And Rome?"}]


def asking(**fields: object) -> JsonBody:
    return JsonBody(json.dumps({"model": "a/b"} | fields).encode())


@pytest.mark.parametrize("beginning", [[FIRST], [SYSTEM, FIRST]])
@pytest.mark.parametrize("field", ["messages", "input"])
def test_a_conversation_stays_the_same_while_it_grows(beginning, field):
    assert affinity_of(ALICE, asking(**{field: beginning})) == affinity_of(
        ALICE, asking(**{field: [*beginning, *MORE]}, temperature=1)
    )


@pytest.mark.parametrize(
    "other",
    [
        asking(messages=[{"role": "user", "content": "Where is Rome?"}]),
        asking(messages=[SYSTEM, FIRST]),
        asking(messages=[FIRST], system="x"),
        asking(prompt="Where is Paris?"),
        JsonBody(b'{"model": "c/d", "messages": [{"role": "user", "content": "Where is Paris?"}]}'),
    ],
)
def test_other_conversations_are_others(other):
    assert affinity_of(ALICE, asking(messages=[FIRST])) != affinity_of(ALICE, other)


def test_other_people_s_are_others():
    body = asking(messages=[FIRST])
    assert affinity_of(ALICE, body) != affinity_of(BOB, body)


def test_long_prompts_with_one_beginning_belong_together():
    one, other = (asking(prompt="x" * 5000 + end) for end in "ab")
    assert affinity_of(ALICE, one) == affinity_of(ALICE, other)


def test_a_salt_is_a_person_s_own_and_tells_nothing_of_them():
    salts = CacheSalts(b"k" * 32)
    assert salts.of(ALICE) == CacheSalts(b"k" * 32).of(ALICE)
    assert len({salts.of(ALICE), salts.of(BOB), CacheSalts(b"l" * 32).of(ALICE)}) == 3
    assert ALICE.account_id not in salts.of(ALICE)
