"""Registrations: what launchers write, and what onlookers make of it."""

from __future__ import annotations

import json
import logging
import os
import time

import pytest

from compute_functions import instances, processes
from compute_functions.contract import (
    FailureCode,
    InstanceState,
    SiteFailure,
    SiteStatus,
    read_reply,
)
from compute_functions.errors import ConfigurationError
from compute_functions.instances import STALE_AFTER_S, Registration
from compute_functions.site import VARIABLE, SiteDirectory
from tests.support.engine_doubles import registration


def status() -> SiteStatus:
    reply = read_reply(json.loads(json.dumps(instances.site_status({"v": 1}))))
    assert isinstance(reply, SiteStatus)
    return reply


def test_a_registration_is_read_as_it_was_written(site: SiteDirectory) -> None:
    written = registration(site, "/run/engine.sock", detail="über")

    assert Registration.read(site.instances / "instance.json") == written


def test_only_the_owner_may_read_it_and_no_draft_stays(site: SiteDirectory) -> None:
    registration(site, "/run/engine.sock")

    (file,) = site.instances.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert site.root.stat().st_mode & 0o777 == 0o700


def test_the_status_tells_what_runs(site: SiteDirectory) -> None:
    before = time.time()
    registered = registration(site, "/run/engine.sock")

    found = status()

    assert before <= found.observed_at <= time.time()
    (instance,) = found.instances
    assert instance == registered.to_instance()
    assert instance.state is InstanceState.READY


def test_the_status_holds_neither_address_nor_key(site: SiteDirectory) -> None:
    registration(site, "/run/engine.sock")

    assert not {"endpoint", "api_key_file"} & instances.site_status({"v": 1})["instances"][0].keys()


def test_an_empty_site_has_no_instances(site: SiteDirectory) -> None:
    assert status().instances == ()


@pytest.mark.parametrize("state", ["starting", "ready", "draining"])
def test_a_dead_launcher_on_this_host_means_failed(site: SiteDirectory, state: str) -> None:
    registration(site, "/x", state=InstanceState(state), pid_start=1)

    (instance,) = status().instances
    assert (instance.state, instance.detail) == (InstanceState.FAILED, "its launcher is gone")


def test_a_launcher_on_another_host_is_judged_by_its_heartbeat(site: SiteDirectory) -> None:
    now = time.time()
    registration(site, "/x", name="fresh", host="elsewhere", pid_start=1, heartbeat=now)
    late = now - STALE_AFTER_S - 10
    registration(site, "/x", name="late", host="elsewhere", pid_start=1, heartbeat=late)

    fresh, stale = status().instances
    assert fresh.state is InstanceState.READY
    assert stale.state is InstanceState.FAILED
    assert "no heartbeat for" in stale.detail


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_an_instance_that_has_ended_needs_no_launcher(site: SiteDirectory, state: str) -> None:
    registration(site, "/x", state=InstanceState(state), pid_start=1, heartbeat=0.0, detail="why")

    (instance,) = status().instances
    assert (instance.state, instance.detail) == (InstanceState(state), "why")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "ready", "paths": []}'])
def test_a_file_that_is_no_registration_is_logged_and_passed_over(
    site: SiteDirectory, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    registration(site, "/x")
    (site.instances / "broken.json").write_text(text)

    with caplog.at_level(logging.WARNING):
        assert len(status().instances) == 1
    assert "registration_unreadable" in caplog.text
    with pytest.raises(ConfigurationError, match="is not a registration"):
        Registration.read(site.instances / "broken.json")


def test_a_list_of_paths_as_older_launchers_wrote_it_is_read(site: SiteDirectory) -> None:
    registration(site, "/x", paths=["/v1/completions"])

    read = Registration.read(site.instances / "instance.json")
    assert read.paths == {"/v1/completions": "/v1/completions"}


def test_a_registration_that_cannot_be_read_is_logged_and_passed_over(
    site: SiteDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    registration(site, "/x")
    (site.instances / "folder.json").mkdir()

    assert len(status().instances) == 1
    assert "registration_unreadable" in caplog.text


def test_without_a_site_directory_the_operators_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    reply = read_reply(instances.site_status({"v": 1}))

    assert isinstance(reply, SiteFailure)
    assert reply.code is FailureCode.SITE_MISCONFIGURED


@pytest.mark.parametrize(
    ("wire", "code"),
    [({"v": 2}, FailureCode.UNSUPPORTED_PROTOCOL), (None, FailureCode.INVALID_REQUEST)],
)
def test_another_version_is_refused(site: SiteDirectory, wire: object, code: FailureCode) -> None:
    reply = read_reply(instances.site_status(wire))

    assert isinstance(reply, SiteFailure)
    assert reply.code is code


def test_a_process_is_known_by_number_and_start() -> None:
    start = processes.started(os.getpid())

    assert start is not None
    assert processes.lives(os.getpid(), start)
    assert not processes.lives(os.getpid(), start + 1)
