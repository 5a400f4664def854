"""The whole service, shared by the tests that look at it from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lab import relays
from lab.service import service
from tests.support.engine import MODEL, RunningEngine
from tests.support.running_service import (
    ABSENT_MODEL,
    ALICE,
    BOB,
    EVE,
    PRIVATE_GROUP,
    PRIVATE_MODEL,
    TINY_NAMES,
    Running,
    model_file,
    write_no_egress,
)
from tests.support.shared_engines import Enrolments


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(
    ready_engine: RunningEngine,
    enrolments: Enrolments,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    async with service(
        folder,
        ready_engine.site_dir,
        enrolment=enrolments.acceptance,
        catalog_poll_s="0.1",
        site_status_cache_s="0.1",
        log_format="json",
    ) as whole:
        models = whole.gateway.catalog / "models"
        (models / "absent.yaml").write_text(model_file(ABSENT_MODEL))
        private = f"access: {{groups: [{PRIVATE_GROUP}]}}"
        (models / "private.yaml").write_text(model_file(PRIVATE_MODEL, private))
        write_no_egress(whole.gateway.catalog)
        tokens = {person: await whole.token_of(person) for person in (EVE, BOB, ALICE)}
        running = Running(service=whole, tokens=tokens)
        await running.until_listed(BOB, TINY_NAMES | {ABSENT_MODEL, PRIVATE_MODEL})
        await relays.dialled(whole.gateway, MODEL)
        yield running
