"""Which instance takes the next request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from resource_server.adapters.relay.load import Load, choose


@dataclass
class Instance:
    name: str
    ours: int = 0
    load: Load = field(default_factory=Load)

    @property
    def busyness(self) -> float:
        return self.load.now(self.ours)


def instances(*ours: int) -> list[Instance]:
    return [Instance(name=f"i{n}", ours=number) for n, number in enumerate(ours)]


def test_the_least_busy_one_is_next():
    assert choose(instances(3, 1, 2), "").name == "i1"


def test_of_equals_the_one_that_waits_longest():
    two = instances(1, 1)
    two[0].load.chosen = 7
    assert choose(two, "").name == "i1"


def test_the_work_of_others_counts_and_ours_only_once():
    two = instances(4, 3)
    two[0].load.take(4, ours=4)
    two[1].load.take(9, ours=3)
    assert [one.busyness for one in two] == [4, 9]
    two[0].ours = 0
    # What it had of ours is done, though it has not told since.
    assert two[0].busyness == 0


def test_sessions_are_spread_and_each_stays():
    four = instances(0, 0, 0, 0)
    keys = [f"session-{n}" for n in range(400)]
    first = [choose(four, key).name for key in keys]
    assert [choose(four, key).name for key in reversed(keys)] == first[::-1]
    assert min(Counter(first).values()) > 50


def test_one_that_has_gone_takes_no_others_along():
    four = instances(0, 0, 0, 0)
    keys = [f"session-{n}" for n in range(200)]
    before = {key: choose(four, key).name for key in keys}
    three = four[1:]
    moved = [key for key in keys if choose(three, key).name != before[key]]
    assert {before[key] for key in moved} == {"i0"}


def test_a_session_leaves_an_instance_that_has_more_than_its_share():
    two = instances(0, 0)
    kept = choose(two, "session")
    kept.ours = 10
    assert choose(two, "session") is not kept
    [other] = [one for one in two if one is not kept]
    other.ours = 9
    assert choose(two, "session") is kept
