"""Carries out what the reconciler decided; before each act it looks whether the lease is ours."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from compute_functions.control import Control
from compute_functions.errors import (
    ConfigurationError,
    DiskFailed,
    DriverFailed,
    LeaseLost,
    SubmissionRefused,
)
from compute_functions.orders import Order, new_name
from compute_functions.reconciler.actions import Action, Cancel, Drain, Submit
from compute_functions.reconciler.memory import Memory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent import site_files
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.setup import Setup
from compute_functions.site_agent.troubles import Troubles
from compute_functions.site_config import Resolution

log = logging.getLogger("hotnode.site_agent")

#: After this no further act is begun: the site is looked at again, and told of (seconds).
WITHIN_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """By what orders are made: the desired state's generation, and how each model is run here."""

    generation: int
    resolutions: Mapping[ModelKey, Resolution] = field(default_factory=dict)
    hot: Collection[ModelKey] = ()


class Acts:
    """Does one thing after the other, in the order in which they were decided."""

    def __init__(self, setup: Setup, *, disk: Disk, troubles: Troubles) -> None:
        self._site = setup.site
        self._driver = setup.driver
        self._lease = setup.lease
        self._vouching = setup.vouching
        self._now = setup.now
        self._clock = setup.clock
        self._disk = disk
        self._troubles = troubles
        #: Instances of which the scheduler said that it has their jobs.
        self.submitted: set[str] = set()

    async def do(self, actions: Collection[Action], terms: Terms, memory: Memory) -> Memory:
        """Do what can be done now, and return what is to be remembered of it.

        What the scheduler does not take is trouble, and keeps nothing else from being done. Raises
        `LeaseLost` or `DiskFailed` in the middle where that is so.
        """
        began, complaints = self._clock(), []
        for action in actions:
            if self._clock() - began > WITHIN_S:
                break  # The same is decided again at the next look, which may know better.
            try:
                match action:
                    case Submit():
                        memory = await self._submit(action, terms, memory)
                    case Drain():
                        await self._drain(action)
                    case Cancel():
                        await self._cancel(action)
            except DriverFailed as error:
                complaints.append(str(error))
                if isinstance(action, Submit):
                    memory = memory.refused(action.key, self._now())
        self._troubles.note("act", "; ".join(dict.fromkeys(complaints)))
        return memory

    async def vouch(self, order: Order, job_id: str) -> None:
        """Leave an instance credentials, or more of them, unless no caller may reach it."""
        if self._vouching is None or order.purpose:
            return
        try:
            await self._disk.do(partial(self._vouching.vouch, order, job_id))
            self._troubles.note("credentials", "")
        except ConfigurationError as error:
            # Without credentials the instance serves by tasks, which is better than nothing.
            log.error("not_vouched_for instance=%s error=%s", order.instance, error)  # noqa: TRY400 - the reason says all
            self._troubles.note("credentials", "the site's key cannot sign: enrol the site again")

    async def _submit(self, action: Submit, terms: Terms, memory: Memory) -> Memory:
        """Order an instance, and submit its job.

        It may be there also after a `DriverFailed`, but not after a `SubmissionRefused`: its order
        goes at once, and keeps no place.
        """
        order = self._order(action, terms)
        await self._disk.do(partial(self._write, order))
        log.info(
            "submit instance=%s model=%s purpose=%s gpus=%d walltime_s=%g exclude=%s reason=%s",
            order.instance,
            order.model,
            order.purpose,
            order.gpus,
            order.walltime_s,
            ",".join(action.exclude),
            action.reason,
        )
        try:
            job_id = await self._driver.submit(order, exclude=action.exclude)
        except DriverFailed as error:
            log.error("submit_failed instance=%s error=%s", order.instance, error)  # noqa: TRY400 - likewise
            if isinstance(error, SubmissionRefused):
                await self._withdraw(order)
            raise
        log.info("submitted instance=%s job=%s", order.instance, job_id)
        self.submitted.add(order.instance)
        memory = memory.submitted(action.key, order.instance)
        try:
            await self.vouch(order, job_id)
        except DiskFailed as error:
            # The next look finds that it has none.
            log.error("not_vouched_for instance=%s error=%s", order.instance, error)  # noqa: TRY400 - likewise
        return memory

    async def _withdraw(self, order: Order) -> None:
        try:
            await self._disk.do(partial(site_files.forget, self._site, order.instance))
        except DiskFailed as error:
            # It counts as perhaps submitted for a while, which does no harm.
            log.warning("order_not_withdrawn instance=%s error=%s", order.instance, error)

    def _order(self, action: Submit, terms: Terms) -> Order:
        resolution = terms.resolutions[action.key]
        return Order(
            instance=new_name(action.key.model),
            model=action.key.model,
            framework=action.key.framework,
            purpose=action.key.purpose,
            engine_file=str(resolution.engine_file),
            model_file=str(resolution.model_file),
            gpus=action.gpus,
            walltime_s=action.walltime_s,
            submitted_at=self._now(),
            generation=terms.generation,
            fence=self._lease.fence,
            hot=action.key in terms.hot,
        )

    def _write(self, order: Order) -> None:
        order.write(self._site)
        try:
            self._lease.require()
        except LeaseLost:
            # Nobody else knows of it: the next agent must not wait for a job of it.
            site_files.forget(self._site, order.instance)
            raise

    async def _drain(self, action: Drain) -> None:
        def write() -> None:
            self._lease.require()
            control.write(self._site, action.instance)

        control = Control(drain=True, since=self._now(), until=action.until)
        log.info(
            "drain instance=%s job=%s until_s=%.0f reason=%s",
            action.instance,
            action.job_id,
            action.until - self._now(),
            action.reason,
        )
        await self._disk.do(write)

    async def _cancel(self, action: Cancel) -> None:
        await self._disk.do(self._lease.require)
        log.info(
            "cancel instance=%s job=%s reason=%s", action.instance, action.job_id, action.reason
        )
        if action.job_id:
            await self._driver.cancel([action.job_id])
        # Its order goes with it: a job that the scheduler did not tell of ends by that.
        await self._disk.do(partial(site_files.forget, self._site, action.instance))
