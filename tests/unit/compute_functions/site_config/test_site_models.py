"""Which desired models a site runs, as what, and why not."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compute_functions import site_config
from compute_functions.contract.lifecycle import FOR_BATCHES, DesiredModel
from compute_functions.site_config import Refusal, Resolution, SiteModels
from compute_functions.site_config.__main__ import main
from compute_functions.site_config.site_models import READ_AGAIN_S
from tests.support.slurm_site import FRAMEWORK, MODEL, site_yaml, write_model, write_site

DESIRED = DesiredModel(
    model=MODEL,
    framework=FRAMEWORK,
    min=1,
    max=2,
    gpus=2,
    walltime_s=3600,
    walltime_ratio=0.9,
    idle_timeout_s=600,
)


def models(folder: Path, limits: dict[str, Any] | None = None) -> SiteModels:
    values = site_yaml(folder)
    values["limits"] |= limits or {}
    config = site_config.load(write_site(folder, values))
    read = SiteModels(config)
    read.refresh()
    return read


def reason(found: Resolution | Refusal) -> str:
    assert isinstance(found, Refusal)
    return found.reason


def test_a_known_model_has_files_and_numbers(tmp_path: Path) -> None:
    assert models(tmp_path).resolve(DESIRED) == Resolution(
        engine_file=tmp_path / "engines" / "vllm.yaml",
        model_file=tmp_path / "models" / "tiny.yaml",
        gpus=2,
        walltime_s=3600,
        start_deadline_s=900,
    )


def test_weights_that_come_later_are_seen(tmp_path: Path) -> None:
    """An operator writes a model's file, and then downloads the weights; or a disk comes back."""
    clock = Clock()
    values = site_yaml(tmp_path)
    read = SiteModels(site_config.load(write_site(tmp_path, values)), clock=clock)
    (tmp_path / "weights" / "tiny").rename(tmp_path / "weights" / "away")
    read.refresh()
    assert reason(read.resolve(DESIRED)) == "tiny.yaml, line 3: path is wrong"

    (tmp_path / "weights" / "away").rename(tmp_path / "weights" / "tiny")
    assert not read.refresh(), "files are not read at every look"
    clock.now += READ_AGAIN_S
    assert read.refresh()
    assert isinstance(read.resolve(DESIRED), Resolution)
    clock.now += READ_AGAIN_S
    assert not read.refresh()


def test_what_stays_wrong_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    read = SiteModels(site_config.load(write_site(tmp_path, site_yaml(tmp_path))), clock=clock)
    write_model(tmp_path, "bad.yaml", id="org/bad", path="../weights/none")
    (tmp_path / "models" / "none.yaml").write_text("[")
    for _ in range(3):
        clock.now += READ_AGAIN_S
        read.refresh()
    assert caplog.text.count("model_refused") == 1
    assert caplog.text.count("model_file_unreadable") == 1


def test_no_disk_is_asked_to_resolve(tmp_path: Path) -> None:
    """One that hangs would keep the agent's whole loop; the job itself looks again."""
    read = models(tmp_path)
    known = read.resolve(DESIRED)
    assert isinstance(known, Resolution)
    (tmp_path / "weights").rename(tmp_path / "away")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "weights").symlink_to(tmp_path / "elsewhere")
    assert read.resolve(DESIRED) == known


class Clock:
    """Stands still until it is set."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_long_walltime_is_cut_and_said(tmp_path: Path) -> None:
    found = models(tmp_path).resolve(replace(DESIRED, walltime_s=86400))

    assert isinstance(found, Resolution)
    assert found.walltime_s == 7200
    assert found.notes == ("walltime cut from 86400 s to the site's 7200 s",)


@pytest.mark.parametrize(
    ("changes", "limits", "why"),
    [
        ({"model": "org/other"}, {}, "the site has no file of it"),
        ({"framework": "sglang"}, {}, "the site runs it with vllm, not with sglang"),
        ({"gpus": 5}, {}, "it wants 5 GPUs, the site allows 4 at most"),
        ({"gpus": 3}, {"gpus_in_all": 2}, "it wants 3 GPUs, the site gives 2 in all"),
        ({"walltime_s": 0}, {}, "it wants no walltime"),
    ],
)
def test_what_the_site_does_not_run_is_refused(
    tmp_path: Path, changes: dict[str, Any], limits: dict[str, Any], why: str
) -> None:
    assert reason(models(tmp_path, limits).resolve(replace(DESIRED, **changes))) == why


def test_instances_for_batches_are_refused_where_none_are_taken(tmp_path: Path) -> None:
    alone = replace(DESIRED, min=0, purpose=FOR_BATCHES)
    read = models(tmp_path)
    assert reason(read.resolve(alone)) == "it is for batches, and the site takes none"
    assert isinstance(read.resolve(DESIRED), Resolution)
    values = site_yaml(tmp_path) | {"batches": {"keep_free_bytes": 0}}
    taking = SiteModels(site_config.load(write_site(tmp_path, values)))
    taking.refresh()
    assert taking.resolve(alone) == taking.resolve(DESIRED)
    unknown = reason(taking.resolve(replace(alone, purpose="training")))
    assert unknown == "it is for training, which this version of the site does not know"


def test_an_engine_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    write_site(tmp_path, site_yaml(tmp_path))
    write_model(tmp_path, "other.yaml", id="org/other", engine="sglang")

    found = models(tmp_path).resolve(replace(DESIRED, model="org/other"))

    assert reason(found) == "the site does not allow its engine, sglang"


def test_weights_outside_the_roots_are_refused_wherever_a_link_stands(tmp_path: Path) -> None:
    write_site(tmp_path, site_yaml(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "weights" / "link").symlink_to(tmp_path / "elsewhere")
    write_model(tmp_path, "linked.yaml", id="org/linked", path="../weights/link")
    write_model(tmp_path, "outside.yaml", id="org/outside", path="../elsewhere")

    read = models(tmp_path)

    for name in ("org/linked", "org/outside"):
        found = read.resolve(replace(DESIRED, model=name))
        assert reason(found) == "its weights lie outside the site's weight_roots"


def test_weights_behind_a_link_within_the_roots_are_taken(tmp_path: Path) -> None:
    write_site(tmp_path, site_yaml(tmp_path))
    (tmp_path / "weights" / "link").symlink_to(tmp_path / "weights" / "tiny")
    write_model(tmp_path, "linked.yaml", id="org/linked", path="../weights/link")

    assert isinstance(models(tmp_path).resolve(replace(DESIRED, model="org/linked")), Resolution)


def test_a_wrong_file_refuses_its_model_alone_and_shows_no_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_site(tmp_path, site_yaml(tmp_path))
    write_model(tmp_path, "broken.yaml", id="org/broken", path="../weights/missing")
    (tmp_path / "models" / "nothing.yaml").write_text("[")

    with caplog.at_level(logging.WARNING):
        read = models(tmp_path)

    found = reason(read.resolve(replace(DESIRED, model="org/broken")))
    assert found == "broken.yaml, line 3: path is wrong"
    assert str(tmp_path / "weights" / "missing") in caplog.text
    assert "nothing.yaml is not YAML" in caplog.text
    assert isinstance(read.resolve(DESIRED), Resolution)


def test_two_files_of_one_model_are_refused(tmp_path: Path) -> None:
    write_site(tmp_path, site_yaml(tmp_path))
    write_model(tmp_path, "again.yaml")

    found = models(tmp_path).resolve(DESIRED)

    assert reason(found) == "the site has several files of it: again.yaml, tiny.yaml"


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    read = models(tmp_path)
    assert read.refresh() is False

    write_model(tmp_path, "more.yaml", id="org/more")

    assert read.refresh() is True
    assert isinstance(read.resolve(replace(DESIRED, model="org/more")), Resolution)


def test_operators_can_check_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(tmp_path, site_yaml(tmp_path))
    file = str(site.root / "site.yaml")
    assert main([file]) == 0
    assert capsys.readouterr().out == f"{MODEL} (vllm)\n"

    write_model(tmp_path, "other.yaml", id="org/other", engine="sglang")
    assert main([file]) == 1
    assert "org/other: the site does not allow its engine" in capsys.readouterr().err

    assert main([str(tmp_path / "missing.yaml")]) == 2
