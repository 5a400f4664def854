"""What `keep_instance` refuses to begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.contract import FailureCode, SiteFailure, read_reply
from compute_functions.control import Control
from compute_functions.keep_instance import keep_instance
from compute_functions.site import SiteDirectory
from tests.support.slurm_site import order, site_yaml, write_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteDirectory:
    made = write_site(tmp_path, site_yaml(tmp_path))
    monkeypatch.setenv("HOTNODE_SITE_DIR", str(made.root))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return made


def test_an_instance_without_an_order_is_not_started(site: SiteDirectory) -> None:
    assert keep_instance({"v": 1, "instance": "org-tiny-1"}) == {"v": 1, "status": None}


def test_an_instance_that_was_told_to_drain_is_not_started(site: SiteDirectory) -> None:
    asked = order()
    asked.write(site)
    Control(drain=True).write(site, asked.instance)

    assert keep_instance({"v": 1, "instance": asked.instance}) == {"v": 1, "status": None}


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        ({"v": 1, "instance": "../x"}, FailureCode.INVALID_REQUEST),
        ({"v": 1}, FailureCode.INVALID_REQUEST),
        ({"v": 99, "instance": "x"}, FailureCode.UNSUPPORTED_PROTOCOL),
    ],
)
def test_what_is_no_instance_is_refused(
    site: SiteDirectory, wire: dict[str, object], code: FailureCode
) -> None:
    failure = read_reply(keep_instance(wire))

    assert isinstance(failure, SiteFailure)
    assert failure.code is code


def test_instances_are_kept_in_jobs_alone(
    site: SiteDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")

    failure = read_reply(keep_instance({"v": 1, "instance": "org-tiny-1"}))

    assert isinstance(failure, SiteFailure)
    assert "in jobs alone" in failure.message
