from __future__ import annotations

import asyncio

from resource_server.domain.errors import CatalogInvalid
from resource_server.domain.limit_rules import LimitRules
from resource_server.services.limit_rules import LiveLimitRules
from tests.support.eventually import eventually


class SourceWithAMistake:
    """Always holds the same mistake, and counts how often it was looked at."""

    def __init__(self) -> None:
        self.looks = 0

    async def load(self) -> LimitRules | None:
        self.looks += 1
        raise CatalogInvalid(("limits.yaml:1: default: a mistake",))


async def test_a_mistake_is_said_once(caplog):
    source = SourceWithAMistake()
    following = asyncio.create_task(LiveLimitRules(source).follow(every_s=0.001))
    await eventually(lambda: source.looks > 3)
    following.cancel()
    await asyncio.wait([following])
    assert caplog.messages == ["limits_invalid"]
