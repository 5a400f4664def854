"""What a job makes of its order and its control file, whole or broken."""

from __future__ import annotations

import asyncio
import time

import pytest

from compute_functions.control import Control
from compute_functions.instance_job.job_ending import JobEnding
from compute_functions.instance_job.watches import MISSED, OrderWatch
from compute_functions.orders import Order
from compute_functions.site import SiteDirectory
from tests.support.slurm_site import order


def ending() -> JobEnding:
    return JobEnding(ends_at=time.time() + 999, walltime_s=999, drain_s=9, kill_wait_s=9)


async def test_a_broken_control_file_hides_no_order_that_is_gone(
    site: SiteDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    site.prepare()
    asked, ours = ending(), order()
    ours.write(site)
    Control.file(site, ours.instance).write_text("{")
    watch = OrderWatch(site, ours.instance, asked)
    await watch.look()
    Order.file(site, ours.instance).unlink()
    for _ in range(MISSED):
        await watch.look()

    async with asyncio.timeout(20):
        assert await asked.asked() == "its order is gone"
    assert caplog.text.count("control_unreadable") == 1
