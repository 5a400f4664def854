"""Run one instance as its order says: what a scheduler's job runs on its node.

    python -m compute_functions.instance_job --site-dir DIR --instance NAME

It reads `orders/NAME.json`, `site.yaml` and the files that they name. It ends when the site's agent
says so (`control/NAME.json`), when its order is gone, at SIGTERM or SIGUSR1, or when its walltime
is nearly over; requests under way are finished first, as long as there is time. Exit status: 0
stopped on request, 1 the engine failed, 2 a file or setting is wrong or the instance runs already.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from compute_functions import event_loop, exit_status
from compute_functions.instance_job.job import Job
from compute_functions.site import SiteDirectory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = ArgumentParser(prog="python -m compute_functions.instance_job", description=__doc__)
    parser.add_argument("--site-dir", type=Path, required=True, help="the site's directory")
    parser.add_argument("--instance", required=True, help="the instance's name")
    given = parser.parse_args(arguments)
    with (
        exit_status.of_an_instance() as status,
        asyncio.Runner(loop_factory=event_loop.new) as runner,
    ):
        runner.run(_run(SiteDirectory(given.site_dir), given.instance))
    return status.code


async def _run(site: SiteDirectory, instance: str) -> None:
    job = await Job.found(site, instance)
    await job.run()


if __name__ == "__main__":
    sys.exit(main())
