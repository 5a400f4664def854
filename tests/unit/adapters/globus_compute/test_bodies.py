"""Bodies are counted as long as they are held, and too many are refused at once."""

from __future__ import annotations

import pytest

from resource_server.adapters.globus_compute.bodies import Bodies
from resource_server.domain import errors


def test_what_does_not_fit_is_refused_until_something_ends() -> None:
    bodies = Bodies(limit=10)
    with bodies.held("one", 5), bodies.held("two", 3):
        with (
            pytest.raises(errors.BackendUnavailable, match="under way") as caught,
            bodies.held("three", 3),
        ):
            pass
        assert caught.value.retry_after_s
        with bodies.held("three", 2):
            assert bodies.size == 10
    with bodies.held("three", 5):
        pass


def test_one_cluster_has_half_of_the_room() -> None:
    bodies = Bodies(limit=10)
    with bodies.held("one", 3):
        with pytest.raises(errors.BackendUnavailable, match="under way"), bodies.held("one", 3):
            pass
        with bodies.held("one", 2), bodies.held("two", 5):
            assert bodies.size == 10


def test_what_fails_is_not_counted_any_more() -> None:
    bodies = Bodies(limit=10)
    with pytest.raises(RuntimeError), bodies.held("one", 5):
        raise RuntimeError
    assert bodies.size == 0
    with bodies.held("one", 5):
        assert bodies.size == 5
