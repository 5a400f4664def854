"""The controller sees batches through, at a real site whose runner the test plays."""

from __future__ import annotations

import pytest

from resource_server.domain.batches import AlcfStatus, BatchStatus, Stage
from tests.support.batch_orders import BatchSite, lines
from tests.support.batch_plant import ALICE, BatchPlant, SiteInThisProcess, at_work, is_settled
from tests.support.eventually import eventually_so

pytestmark = pytest.mark.usefixtures("any_database")


@pytest.mark.row("C-26", "C-51", "C-52")
async def test_a_batch_goes_there_and_its_results_come_back(
    plant: BatchPlant, site: BatchSite
) -> None:
    batch = await plant.created(lines(), endpoint="/v1/chat/completions", metadata={"k": "v"})
    assert (batch.status, batch.alcf_status) == (BatchStatus.VALIDATING, AlcfStatus.PENDING)
    calls = SiteInThisProcess()
    async with at_work(plant.duty(calls)):

        async def is_(status: BatchStatus) -> bool:
            return (await plant.batch(batch.id)).status is status

        await eventually_so(lambda: is_(BatchStatus.IN_PROGRESS))
        assert (await plant.batch(batch.id)).alcf_status is AlcfStatus.PENDING
        assert site.folder(batch.id).input.read_bytes() == lines()
        site.finish(batch.id)
        await eventually_so(lambda: is_(BatchStatus.COMPLETED))

        async def settled() -> bool:
            return is_settled(await plant.batch(batch.id))

        await eventually_so(settled)
    found = await plant.batch(batch.id)
    assert (found.total, found.completed, found.failed) == (3, 2, 1)
    assert found.in_progress_at
    assert found.finalizing_at
    assert found.completed_at
    assert found.output_file_id
    assert found.error_file_id
    assert await plant.content(found.output_file_id) == (
        b'{"custom_id":"line-0"}\n{"custom_id":"line-2"}\n'
    )
    assert await plant.content(found.error_file_id) == b'{"line-1":0}\n'
    assert calls.verbs().count("submit") == 1
    assert not site.folder(batch.id).path.exists()
    assert found.stage is Stage.DONE
    result = await plant.batches.result(ALICE, batch.id)
    assert result.metrics.total_tokens == 12
