"""Troubles: told while they last, logged when they change."""

from __future__ import annotations

import pytest

from compute_functions.site_agent.troubles import Troubles


def test_all_that_last_are_told_and_each_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles()
    with caplog.at_level("INFO"):
        for _ in range(5):
            troubles.note("disk", "full")
            troubles.note("scheduler", "away")
        assert troubles.text == "full; away"
        troubles.note("disk", "")
        troubles.note("disk", "")
        troubles.note("disk", "full again")
    assert troubles.text == "away; full again"
    assert [record.getMessage() for record in caplog.records] == [
        "trouble topic=disk text=full",
        "trouble topic=scheduler text=away",
        "trouble_over topic=disk",
        "trouble topic=disk text=full again",
    ]


def test_a_gateway_is_not_told_a_novel() -> None:
    troubles = Troubles()
    troubles.note("act", "x" * 100_000)
    assert len(troubles.text) == 1_000
