"""Changes: what is new replaces the agent, what is wrong does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from compute_functions import site_config
from compute_functions.relay.enrolment import Enrolment, enrolment_file
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import installed
from compute_functions.site_agent.changes import Basis, Changes, Superseded
from compute_functions.site_agent.disk import Disk
from compute_functions.site_agent.troubles import Troubles
from tests.support import slurm_site
from tests.support.eventually import eventually
from tests.support.hanging_program import hanging_program


@pytest.fixture
def site(tmp_path: Path) -> SiteDirectory:
    return slurm_site.write_site(tmp_path, slurm_site.site_yaml(tmp_path))


@pytest.fixture
def troubles() -> Troubles:
    return Troubles()


@pytest.fixture
def basis(site: SiteDirectory) -> Basis:
    return Basis(build=installed.build(), config=site_config.load(site), enrolment=None)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk() as disk:
        yield disk


async def test_as_long_as_nothing_changes_nothing_happens(
    site: SiteDirectory, basis: Basis, disk: Disk, troubles: Troubles
) -> None:
    changes = Changes(site, basis, disk=disk, troubles=troubles)
    for _ in range(3):
        await changes.look()
    assert troubles.text == ""


async def test_another_file_of_the_site(
    site: SiteDirectory, basis: Basis, disk: Disk, troubles: Troubles
) -> None:
    changes = Changes(site, basis, disk=disk, troubles=troubles)
    file = site.root / "site.yaml"
    values = yaml.safe_load(file.read_text())
    file.write_text("limits: [")
    await changes.look()
    assert "site.yaml" in troubles.text or "a file of the site is wrong" in troubles.text
    values["limits"]["jobs"] += 1
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(Superseded):
        await changes.look()
    assert troubles.text == ""


async def test_the_log_has_all_that_is_wrong_with_a_file(
    site: SiteDirectory,
    basis: Basis,
    disk: Disk,
    troubles: Troubles,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the gateway's operators are told has no contents of the site's files."""
    file = site.root / "site.yaml"
    values = yaml.safe_load(file.read_text())
    values["limits"]["jobs"] = -7
    file.write_text(yaml.safe_dump(values))
    await Changes(site, basis, disk=disk, troubles=troubles).look()
    assert "limits.jobs is wrong" in troubles.text
    assert "-7" not in troubles.text
    assert "limits.jobs: must be a whole number, 1 or more" in caplog.text


async def test_another_enrolment_but_not_one_that_is_damaged(
    site: SiteDirectory, basis: Basis, disk: Disk, troubles: Troubles
) -> None:
    changes = Changes(site, basis, disk=disk, troubles=troubles)
    enrolment_file(site).parent.mkdir()
    enrolment_file(site).write_text("{")
    await changes.look()
    assert "enrolment" in troubles.text
    Enrolment(cluster="alpha", hubs=("ws://127.0.0.1:9/",)).write(site)
    with pytest.raises(Superseded):
        await changes.look()


async def test_a_package_that_does_not_start_changes_nothing(
    basis: Basis, site: SiteDirectory, disk: Disk, troubles: Troubles
) -> None:
    older = Basis(build=("0", "older"), config=basis.config, enrolment=None)
    changes = Changes(site, older, disk=disk, troubles=troubles)
    await changes.look()  # Seen once it may be half installed.
    assert troubles.text == ""
    with pytest.raises(Superseded, match="another build"):
        await changes.look()
    good = (site.root / "site.yaml").read_text()
    (site.root / "site.yaml").write_text("limits: [")
    await changes.look()
    assert "does not start" in troubles.text
    (site.root / "site.yaml").write_text(good)


async def test_who_is_cancelled_leaves_no_package_behind_that_hangs_as_it_starts(
    site: SiteDirectory,
    basis: Basis,
    disk: Disk,
    troubles: Troubles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older = Basis(build=("0", "older"), config=basis.config, enrolment=None)
    changes = Changes(site, older, disk=disk, troubles=troubles)
    await changes.look()
    with hanging_program(tmp_path / "bin" / "python") as program:
        monkeypatch.setattr(sys, "executable", str(program.file))
        looking = asyncio.create_task(changes.look())
        await eventually(lambda: program.hangs)
        looking.cancel()
        await asyncio.wait({looking}, timeout=20)
        assert looking.cancelled()
        await eventually(lambda: program.is_gone)
