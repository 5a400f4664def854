"""The one writer of a registration: at every change, at every heartbeat, and at the end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from typing_extensions import override

from compute_functions import registrar as registrars
from compute_functions.contract import InstanceState
from compute_functions.contract.instances import Stage
from compute_functions.instances import Registration
from compute_functions.registrar import Fields, Registrar
from compute_functions.site import SiteDirectory
from tests.support.engine_doubles import registration
from tests.support.eventually import eventually


def read(site: SiteDirectory) -> Registration:
    return Registration.read(site.instances / "instance.json")


async def test_heartbeats_tell_what_was_noted_and_what_is_looked_up(site: SiteDirectory) -> None:
    waiting = iter(range(1000))

    def vitals() -> Fields:
        return {"waiting": float(next(waiting))}

    registrar = Registrar(site, registration(site, "/x"), heartbeat_s=0.01)
    registrar.watch(vitals)
    async with registrar.beating():
        registrar.note(detail="half copied")
        await eventually(lambda: (read(site).waiting or 0) > 3)
    found = read(site)
    assert (found.detail, found.heartbeat_s) == ("half copied", 0.01)
    assert found == registrar.registration


async def test_a_move_is_written_at_once_and_ends_the_stage(site: SiteDirectory) -> None:
    registrar = Registrar(site, registration(site, "/x"))
    await registrar.move(InstanceState.STARTING, stage=Stage.NODE)
    assert read(site).stage is Stage.NODE
    await registrar.reach(Stage.WARMUP)
    assert read(site).stage is Stage.WARMUP
    await registrar.move(InstanceState.READY, ready_at=7.0)
    found = read(site)
    assert (found.state, found.stage, found.ready_at) == (InstanceState.READY, None, 7.0)


async def test_what_it_came_to_is_written_even_if_the_disk_is_away_for_a_moment(
    site: SiteDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registrars, "_LAST_WORDS_PAUSE_S", 0.01)
    monkeypatch.setattr(registrars, "_LAST_WORDS", 1000)
    registrar = Registrar(site, registration(site, "/x"))
    site.instances.rename(site.root / "away")
    moving = asyncio.create_task(registrar.move(InstanceState.STOPPED, "why"))
    await eventually(lambda: "registration_unwritten" in caplog.text)
    (site.root / "away").rename(site.instances)
    async with asyncio.timeout(20):
        await moving

    assert read(site).state is InstanceState.STOPPED


async def test_a_disk_that_stays_away_keeps_nobody(
    site: SiteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrars, "_LAST_WORDS_PAUSE_S", 0.01)
    registrar = Registrar(site, registration(site, "/x"))
    site.instances.rename(site.root / "away")
    async with asyncio.timeout(20):
        await registrar.move(InstanceState.FAILED, "why")


async def test_a_write_that_was_given_up_does_not_come_after_a_later_one(
    site: SiteDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registrars, "WRITE_WITHIN_S", 0.1)
    monkeypatch.setattr(registrars, "_LAST_WORDS_PAUSE_S", 0.01)
    monkeypatch.setattr(registrars, "_LAST_WORDS", 1000)
    with DiskThatHangsOnce(site) as disk:
        registrar = Registrar(disk.site, registration(site, "/x"))
        async with asyncio.timeout(20):
            await registrar.move(InstanceState.READY)
            assert "registration_unwritten" in caplog.text
            moving = asyncio.create_task(registrar.move(InstanceState.STOPPED, "why"))
            await eventually(lambda: caplog.text.count("registration_unwritten") > 1)
            disk.answer()
            await moving
    assert read(site).state is InstanceState.STOPPED
    assert disk.most_at_once == 1, "threads pile up behind a disk that hangs"


class DiskThatHangsOnce:
    """Keeps its first visitor until it is told to answer, and counts who is there at once."""

    def __init__(self, site: SiteDirectory) -> None:
        self._answers = threading.Event()
        self._visitors = 0
        self.most_at_once = 0
        self.site = HangingSite(site.root, self._visit)

    def answer(self) -> None:
        self._answers.set()

    def _visit(self) -> None:
        self._visitors += 1
        self.most_at_once = max(self.most_at_once, self._visitors)
        self._answers.wait(20)
        self._visitors -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer()


@dataclass(frozen=True, slots=True)
class HangingSite(SiteDirectory):
    """A site whose folder of registrations is found when the disk answers."""

    visit: Callable[[], None]

    @property
    @override
    def instances(self) -> Path:
        self.visit()
        return self.root / "instances"


def test_fields_of_later_versions_are_passed_over(site: SiteDirectory) -> None:
    written = registration(site, "/x", stage=Stage.ENGINE)
    path: Path = site.instances / "instance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))
    assert read(site) == written
