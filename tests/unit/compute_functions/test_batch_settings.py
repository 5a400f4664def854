"""The section `batches` of `site.yaml`: what is not right is refused with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions import site_config
from compute_functions.batch_settings import AccessMode, BatchSettings
from compute_functions.endpoint_files import CONFIGS
from compute_functions.errors import FieldError
from tests.support.slurm_site import site_yaml, write_site

USERS: dict[str, Any] = {"access": "user", "run_as": ["env", "U={user}", "{uid}:{gid}"]}


def settings(folder: Path, batches: dict[str, Any] | None) -> BatchSettings | None:
    values = site_yaml(folder)
    if batches is not None:
        values["batches"] = batches
    return site_config.load(write_site(folder, values)).batches


def test_without_the_section_there_are_no_batches(tmp_path: Path) -> None:
    assert settings(tmp_path, None) is None


def test_an_empty_section_takes_uploads(tmp_path: Path) -> None:
    found = settings(tmp_path, {})
    assert found == BatchSettings()
    assert found is not None
    assert found.access is None


def test_everything_is_read(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "who.yaml").write_text("{}")
    assert settings(
        tmp_path,
        {
            "access": "account",
            "folders": [str(tmp_path)],
            "open_folders": ["/usr"],
            "identities_file": "who.yaml",
            "most_active_per_owner": 3,
            "most_bytes": 1000,
            "keep_free_bytes": 0,
            "runners_per_instance": 2,
            "quantum_s": 60,
            "share": 0.25,
            "slowdown": 1.5,
        },
    ) == BatchSettings(
        access=AccessMode.ACCOUNT,
        folders=(tmp_path,),
        open_folders=(Path("/usr"),),
        identities_file=tmp_path / "site" / "who.yaml",
        most_active_per_owner=3,
        most_bytes=1000,
        keep_free_bytes=0,
        runners_per_instance=2,
        quantum_s=60.0,
        share=0.25,
        slowdown=1.5,
    )


def test_the_mode_user_is_read(tmp_path: Path) -> None:
    wanted = {
        "folders": ["/usr"],
        "identity_mapping": "/bin/sh",
        "helper": "/bin/cat",
    }
    found = settings(tmp_path, USERS | wanted)
    assert found is not None
    assert (found.access, found.run_as) == (AccessMode.USER, ("env", "U={user}", "{uid}:{gid}"))
    assert (found.identity_mapping, found.helper) == (Path("/bin/sh"), Path("/bin/cat"))


@pytest.mark.parametrize(
    ("batches", "field", "problem"),
    [
        ({"entry": "account"}, "entry", "unknown"),
        ({"access": "user"}, "access", "user needs run_as"),
        ({"access": "user", "run_as": "sudo"}, "run_as", "must be a list"),
        ({"access": "user", "run_as": ["env"]}, "run_as", "it changes no user"),
        ({"access": "user", "run_as": ["env", "{gid}"]}, "run_as", "it changes no user"),
        ({"access": "user", "run_as": ["env", "{name}"]}, "run_as", "{name} is unknown"),
        ({"access": "user", "run_as": ["/no/sudo", "{uid}"]}, "run_as", "no program /no/sudo"),
        (USERS | {"open_folders": ["/usr"]}, "open_folders", "nothing without access: account"),
        (USERS | {"folders": ["/usr"]}, "folders", "nobody could use them"),
        (USERS | {"helper": "/none"}, "helper", "there is no file /none"),
        ({"access": "account", "run_as": ["env", "{uid}"]}, "run_as", "without access: user"),
        ({"access": "account", "helper": "/bin/sh"}, "helper", "without access: user"),
        ({"identity_mapping": "/bin/sh"}, "identity_mapping", "account or user"),
        (
            USERS | {"identity_mapping": "/bin/sh", "identities_file": "/bin/sh"},
            "identity_mapping",
            "there is an identities_file as well",
        ),
        ({"access": "root"}, "access", "'root' is unknown"),
        ({"folders": ["/usr"]}, "folders", "does nothing without access"),
        ({"access": "account", "folders": ["/usr"]}, "folders", "nobody could use them"),
        ({"access": "account", "open_folders": ["usr"]}, "open_folders", "absolute path"),
        ({"access": "account", "open_folders": ["/"]}, "open_folders", "not the root"),
        ({"access": "account", "open_folders": ["/usr/../etc"]}, "open_folders", "absolute path"),
        ({"access": "account", "open_folders": ["/none"]}, "open_folders", "no folder /none"),
        ({"access": "account", "identities_file": "no"}, "identities_file", "there is no file"),
        ({"most_bytes": 0}, "most_bytes", "1 or more"),
        ({"share": 0}, "share", "must be above 0, and at most 1"),
        ({"share": 1.5}, "share", "must be above 0, and at most 1"),
        ({"share": "nan"}, "share", "must be above 0, and at most 1"),
        ({"share": "all"}, "share", "must be above 0, and at most 1"),
        ({"slowdown": 1}, "slowdown", "must be from 1.05 to 100 (times as late)"),
        ({"slowdown": 101}, "slowdown", "must be from 1.05 to 100 (times as late)"),
        ({"slowdown": "nan"}, "slowdown", "must be from 1.05 to 100 (times as late)"),
        ({"slowdown": "much"}, "slowdown", "must be from 1.05 to 100 (times as late)"),
        ({"quantum_s": 0}, "quantum_s", "above 0"),
        ({"runners_per_instance": 0}, "runners_per_instance", "1 or more"),
    ],
)
def test_what_is_not_right_is_refused(
    tmp_path: Path, batches: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(FieldError) as raised:
        settings(tmp_path, batches)
    assert raised.value.field == f"batches.{field}"
    assert problem in raised.value.problem


@pytest.mark.parametrize(("share", "slowdown"), [(1, 1.05), (0.001, 100)])
def test_the_bounds_themselves_are_allowed(tmp_path: Path, share: float, slowdown: float) -> None:
    found = settings(tmp_path, {"share": share, "slowdown": slowdown})
    assert found == BatchSettings(share=share, slowdown=slowdown)


def test_the_sample_shows_every_field_and_its_default() -> None:
    text = (CONFIGS / "templates" / "slurm" / "site.yaml").read_text()
    commented = text[text.index("# batches:") :].split("\n\n")[0]
    shown = yaml.safe_load("\n".join(line.removeprefix("# ") for line in commented.splitlines()))

    assert shown["batches"].keys() == set(BatchSettings.__slots__)
    for name in ("most_bytes", "keep_free_bytes", "quantum_s", "share", "slowdown"):
        assert shown["batches"][name] == getattr(BatchSettings(), name)
    for name in ("most_active_per_owner", "runners_per_instance"):
        assert shown["batches"][name] == getattr(BatchSettings(), name)
