"""Bodies are counted as long as they are held, and too many are refused at once."""

from __future__ import annotations

import pytest

from resource_server.adapters.globus_compute.bodies import Bodies
from resource_server.domain import errors


def test_what_does_not_fit_is_refused_until_something_ends() -> None:
    bodies = Bodies(limit=10)
    with bodies.held(6):
        with pytest.raises(errors.BackendUnavailable, match="under way") as caught, bodies.held(5):
            pass
        assert caught.value.retry_after_s
        with bodies.held(4):
            assert bodies.size == 10
    with bodies.held(10):
        pass


def test_what_fails_is_not_counted_any_more() -> None:
    bodies = Bodies(limit=10)
    with pytest.raises(RuntimeError), bodies.held(10):
        raise RuntimeError
    assert bodies.size == 0
