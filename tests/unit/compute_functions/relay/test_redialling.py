"""What is kept of a hub from one link to the next: when it is dialled again."""

from __future__ import annotations

import logging

import pytest
from yarl import URL

from compute_functions.errors import HubRefused
from compute_functions.relay.redialling import Redialling
from compute_functions.relay.times import Times

log = logging.getLogger(__name__)

#: A link holds longer than this at once, and longer than that never (seconds).
AT_ONCE, NEVER = -1.0, 1e9
#: After a refusal that an operator must mend; pauses of the other kind are shorter by far.
LONG = 100.0


class OneCredential:
    async def new(self) -> str:
        return "credential"


def redialling(*, steady_s: float = NEVER) -> Redialling:
    times = Times(
        first_pause_s=1.0, longest_pause_s=10.0, refused_pause_s=2 * LONG, steady_s=steady_s
    )
    return Redialling(URL("ws://hub/"), credentials=OneCredential(), times=times, log=log)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_an_operator_must_mend_is_tried_again_late(status: int) -> None:
    hub = redialling()
    assert await hub.token() == "credential"
    assert hub.refused("refused", HubRefused(status)) >= LONG


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_by_itself_is_tried_again_after_longer_and_longer(status: int) -> None:
    hub = redialling()
    first, second = (hub.refused("refused", HubRefused(status)) for _ in range(2))
    assert first == 0.0
    assert 0.0 < second < LONG


async def test_a_session_that_is_refused_is_replaced_at_once_and_once() -> None:
    hub = redialling()
    hub.bearer.renewed("session", NEVER)
    assert await hub.token() == "session"
    assert hub.refused("refused", HubRefused(401)) == 0.0
    assert await hub.token() == "credential"
    assert hub.refused("refused", HubRefused(401)) >= LONG


@pytest.mark.parametrize(("steady_s", "again_at_once"), [(AT_ONCE, True), (NEVER, False)])
async def test_only_a_link_that_held_is_opened_again_at_once(
    steady_s: float, *, again_at_once: bool
) -> None:
    hub = redialling(steady_s=steady_s)
    assert hub.ended() == 0.0
    await hub.token()
    hub.opened()
    assert (hub.ended() == 0.0) == again_at_once
    await hub.token()
    assert hub.ended() > 0.0  # This one was not opened.


def test_what_goes_on_happening_is_told_once_until_a_link_was_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = redialling()
    for _ in range(3):
        hub.tell("failed", OSError("away"))
    hub.tell("failed", OSError("another"))
    hub.opened()
    hub.tell("failed", OSError("another"))
    told = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert told == [f"failed hub=ws://hub/ error={why}" for why in ("away", "another", "another")]
