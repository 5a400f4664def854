"""The agent's process: started once, replaced when its files change, and told why it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions import processes
from compute_functions.contract import DesiredState, SiteStatus, Wishes
from compute_functions.site import VARIABLE, SiteDirectory
from compute_functions.site_agent import __main__ as command
from compute_functions.site_agent import ensuring, json_file, starting
from compute_functions.site_agent.lease import Holder, Lease
from compute_functions.stubs import ensure_site_agent
from lab.processes import Child, Command, running
from lab.stand_in import clean_environment
from tests.support import slurm_site
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(120)

#: A new process reads the package, and waits for the lease.
BEGINS_WITHIN_S = 40.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SiteDirectory]:
    site = slurm_site.write_site(tmp_path, slurm_site.site_yaml(tmp_path))
    yield site
    assert command.main(["stop", "--site-dir", str(site.root)]) == 0


@pytest.fixture
def endpoint(site: SiteDirectory, monkeypatch: pytest.MonkeyPatch) -> SiteDirectory:
    """Be an endpoint of the site: its environment holds what is not for the agent."""
    monkeypatch.setenv(VARIABLE, str(site.root))
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("SQUEUE_FORMAT", "%all")
    # No scheduler answers here.
    monkeypatch.setenv("PATH", "/usr/bin/nowhere")
    return site


def ensured(wishes: Wishes | None = None) -> dict[str, Any]:
    return ensure_site_agent((wishes or Wishes()).to_wire())


def log_of(site: SiteDirectory) -> str:
    file = starting.log_file(site)
    return file.read_text() if file.exists() else ""


def holder(site: SiteDirectory) -> Holder:
    found = Lease(site.agent).holder()
    assert found is not None
    return found


def seen(site: SiteDirectory) -> SiteStatus | None:
    return ensuring.observed(site)


def of_process(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def trouble(site: SiteDirectory) -> str:
    status = seen(site)
    return status.agent.trouble if status and status.agent else ""


def change(site: SiteDirectory, **limits: Any) -> None:
    file = site.root / "site.yaml"
    values = yaml.safe_load(file.read_text())
    values["limits"] |= limits
    draft = file.with_suffix(".new")
    draft.write_text(yaml.safe_dump(values))
    draft.replace(file)


@asynccontextmanager
async def an_agent(site: SiteDirectory, *options: str, **environment: str) -> AsyncIterator[Child]:
    run = Command(
        name="agent",
        arguments=[
            *(sys.executable, *starting.MODULE, "run", "--site-dir", str(site.root)),
            *options,
        ],
        log=site.root.parent / "agent.log",
        environment={**clean_environment(), "PATH": "/usr/bin/nowhere", **environment},
    )
    async with running(run) as child:
        yield child


class TestEnsuring:
    async def test_of_many_who_call_at_once_one_starts_it(self, endpoint: SiteDirectory) -> None:
        with ThreadPoolExecutor(8) as workers:
            answers = list(workers.map(lambda _: ensured(), range(8)))
        assert {answer["kind"] for answer in answers} == {"status"}, answers
        assert {answer["agent"]["pid"] for answer in answers} == {holder(endpoint).pid}
        assert log_of(endpoint).count("agent_active") == 1
        assert log_of(endpoint).count("agent_not_needed") == 0

    async def test_it_gets_no_secret_and_nobody_is_its_parent(
        self, endpoint: SiteDirectory
    ) -> None:
        ensured()
        pid = holder(endpoint).pid
        environment = of_process(pid, "environ")
        assert "s3cret" not in environment
        assert "SQUEUE_FORMAT" not in environment
        assert f"{VARIABLE}={endpoint.root}" in environment
        assert os.getsid(pid) == pid != os.getsid(0)
        assert int(of_process(pid, "stat").rpartition(")")[2].split()[1]) != os.getpid()

    async def test_wishes_arrive_and_are_written_down(self, endpoint: SiteDirectory) -> None:
        ensured(Wishes(desired=DesiredState(generation=3, revision=4)))

        def has_taken_them() -> bool:
            status = seen(endpoint)
            return bool(status and status.agent and status.agent.revision == 4)

        await eventually(has_taken_them)
        assert (endpoint.agent / "desired.json").exists()
        assert list((endpoint.agent / "inbox").iterdir()) == []

    async def test_one_that_was_killed_is_started_again(self, endpoint: SiteDirectory) -> None:
        first = ensured()["agent"]
        os.kill(first["pid"], signal.SIGKILL)
        ensuring.observed_file(endpoint).unlink()
        (endpoint.agent / "starting").unlink()
        second = ensured()["agent"]
        assert second["fence"] > first["fence"]

    async def test_a_wrong_file_is_named(self, endpoint: SiteDirectory) -> None:
        change(endpoint, jobs="many")
        answer = ensured()
        assert answer["code"] == "site_misconfigured"
        assert "site.yaml" in answer["message"]
        assert "limits.jobs" in answer["message"]

    async def test_an_observation_from_a_time_to_come_is_nobodys(
        self, endpoint: SiteDirectory
    ) -> None:
        ensured()
        command.main(["stop", "--site-dir", str(endpoint.root)])
        status = seen(endpoint)
        assert status is not None
        future = status.to_wire() | {"observed_at": time.time() + 3600}
        json_file.write(ensuring.observed_file(endpoint), future)
        assert seen(endpoint) is None

    @pytest.mark.parametrize("wire", [None, {}, {"v": 99}, {"v": 1, "desired": 3, "demand": None}])
    async def test_what_is_no_wish_starts_nothing(self, endpoint: SiteDirectory, wire: Any) -> None:
        assert ensure_site_agent(wire)["kind"] == "failure"
        assert not list(endpoint.agent.iterdir())


class TestBeginningAnew:
    async def test_after_the_sites_file_changed(self, site: SiteDirectory) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            before = holder(site)
            change(site, jobs=9)
            await child.until(
                lambda: (
                    (found := Lease(site.agent).holder()) is not None and found.fence > before.fence
                ),
                within_s=BEGINS_WITHIN_S,
            )
            # The same process for its supervisor, another program in it.
            assert holder(site).pid == before.pid
        assert "agent_begins_anew" in (site.root.parent / "agent.log").read_text()

    async def test_not_while_the_sites_file_is_wrong(self, site: SiteDirectory) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            before = holder(site)
            good = (site.root / "site.yaml").read_text()
            change(site, jobs="many")
            await child.until(lambda: "limits.jobs is wrong" in trouble(site), within_s=20)
            assert holder(site).fence == before.fence
            (site.root / "site.yaml").write_text(good)
            await child.until(lambda: "limits.jobs" not in trouble(site), within_s=20)
            assert holder(site).fence == before.fence

    async def test_after_another_package_was_installed(self, site: SiteDirectory) -> None:
        packages = site.root.parent / "packages"
        packages.mkdir()
        async with an_agent(site, PYTHONPATH=str(packages)) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            installed = packages / "hotnode-99.0.dist-info"
            installed.mkdir()
            (installed / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: hotnode\nVersion: 99.0\n"
            )

            def is_new() -> bool:
                status = seen(site)
                return bool(status and status.agent and status.agent.version == "99.0")

            await child.until(is_new, within_s=BEGINS_WITHIN_S)

    async def test_when_the_site_enrols(self, site: SiteDirectory) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            enrol = ["--cluster", "alpha", "--insecure", "--hub", "http://127.0.0.1:9"]
            subprocess.run(  # noqa: S603, ASYNC221 - our own command
                [
                    *(sys.executable, "-P", "-m", "compute_functions.enrol"),
                    *("--site-dir", str(site.root), *enrol),
                ],
                check=True,
                capture_output=True,
            )
            log = site.root.parent / "agent.log"
            await child.until(
                lambda: "site_link_failed hub=ws://127.0.0.1:9/relay/v1/site" in log.read_text(),
                within_s=BEGINS_WITHIN_S,
            )


class TestTheEnd:
    async def test_a_wrong_file_ends_it_with_two(self, site: SiteDirectory) -> None:
        change(site, jobs="many")
        async with an_agent(site) as child:
            assert await child.left(within_s=BEGINS_WITHIN_S) == 2
        assert "not_started reason=" in (site.root.parent / "agent.log").read_text()

    async def test_a_site_that_is_not_there_ends_it_with_one(self, tmp_path: Path) -> None:
        (tmp_path / "site").write_text("no folder")
        async with an_agent(SiteDirectory(tmp_path / "site")) as child:
            assert await child.left(within_s=BEGINS_WITHIN_S) == 1

    async def test_it_is_stopped_by_name_and_leaves_the_lease(self, site: SiteDirectory) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            stop = asyncio.to_thread(command.main, ["stop", "--site-dir", str(site.root)])
            assert await stop == 0
            assert await child.left(within_s=10) == 0
        assert Lease(site.agent).holder() is None
        assert "agent_stopped" in (site.root.parent / "agent.log").read_text()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    async def test_status_says_at_once_that_none_works(
        self, site: SiteDirectory, number: signal.Signals
    ) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            assert command.main(["status", "--site-dir", str(site.root)]) == 0
            os.kill(holder(site).pid, number)
            await child.left(within_s=10)
            assert seen(site) is not None, "what it saw still looks fresh"
            assert command.main(["status", "--site-dir", str(site.root)]) == 1

    async def test_one_that_is_not_needed_ends_with_nought(self, site: SiteDirectory) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            async with an_agent(site, "--unless-running") as second:
                assert await second.left(within_s=BEGINS_WITHIN_S) == 0
            assert holder(site).pid == child.pid or processes.lives(
                holder(site).pid, holder(site).pid_start
            )


class TestTheDisk:
    async def test_an_agent_whose_folder_goes_away_works_when_it_is_back(
        self, site: SiteDirectory
    ) -> None:
        async with an_agent(site) as child:
            await child.until(lambda: seen(site) is not None, within_s=BEGINS_WITHIN_S)
            before = holder(site).fence
            away = site.root / "elsewhere"
            site.agent.rename(away)
            log = site.root.parent / "agent.log"
            await child.until(lambda: "agent_passive" in log.read_text(), within_s=30)
            away.rename(site.agent)
            await child.until(
                lambda: (found := Lease(site.agent).holder()) is not None and found.fence > before,
                within_s=30,
            )
            status_written = time.time()

            def is_fresh() -> bool:
                status = seen(site)
                return bool(status and status.observed_at > status_written)

            await child.until(is_fresh, within_s=20)
        assert holder_host(site) == ""


def holder_host(site: SiteDirectory) -> str:
    found = Lease(site.agent).holder()
    return found.host if found else ""


def test_the_lease_names_this_host(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.acquire()
    found = lease.holder()
    assert found is not None
    assert found.host == socket.gethostname()
