"""What the operators' check of a site's file looks at besides the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from compute_functions.schedulers.slurm import sinfo_partitions
from compute_functions.schedulers.slurm.sinfo_partitions import Partition
from compute_functions.site_config.__main__ import main
from tests.support.as_user import installed
from tests.support.batch_orders import identities
from tests.support.open_folder import open_folder
from tests.support.slurm_site import ENGINE, MODEL, site_yaml, write_model, write_site

SINFO = """\
gpu*|up|a100,nvlink
gpu*|up|h100
old|down|(null)
cpu|up|(null)
"""


class Check:
    """Runs the check on a site whose PATH holds nothing but what a test put there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.values = site_yaml(folder)
        self._capsys = capsys

    def program(self, path: Path, script: str = "exit 0", mode: int = 0o755) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path

    def said(self) -> str:
        """Return what was said since the last time."""
        return self._capsys.readouterr().err

    def run(self, *options: str, command: str = "serve") -> tuple[int, str]:
        site = write_site(self.folder, self.values)
        engine = ENGINE | {"command": [command, "{model_path}", "{model}", "{socket}"]}
        (self.folder / "engines" / "vllm.yaml").write_text(yaml.safe_dump(engine))
        status = main([str(site.root / "site.yaml"), *options], environment={"PATH": str(self.bin)})
        return status, self.said()


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path, capsys)


class TestEngines:
    def test_one_that_is_installed_is_no_word_worth(self, check: Check):
        check.values["models"]["engines_dir"] = str(check.folder / "installed")
        check.program(check.folder / "installed" / "vllm" / "serve")
        assert check.run(command="{engines_dir}/vllm/serve") == (0, "")

    def test_one_that_is_not_there_is_named(self, check: Check):
        check.values["models"]["engines_dir"] = str(check.folder)
        status, said = check.run(command="{engines_dir}/vllm/serve")
        assert status == 1
        assert f"vllm: there is no program {check.folder}/vllm/serve" in said

    def test_one_that_nobody_may_run_is_named(self, check: Check):
        program = check.program(check.folder / "serve", mode=0o644)
        status, said = check.run(command=str(program))
        assert status == 1
        assert f"vllm: {program} cannot be run" in said

    def test_a_site_that_says_nothing_of_where_engines_are_is_told(self, check: Check):
        status, said = check.run(command="{engines_dir}/vllm/serve")
        assert status == 1
        assert "vllm: its file names {engines_dir}, and models.engines_dir is not set" in said

    def test_one_by_its_name_alone_is_looked_up_with_a_warning(self, check: Check):
        program = check.program(check.bin / "serve")
        status, said = check.run()
        assert status == 0
        assert f"vllm: 'serve' is {program} here; jobs look it up in their own PATH" in said
        program.unlink()
        status, said = check.run()
        assert status == 0
        assert "vllm: 'serve' is not in PATH here; jobs look it up in their own" in said


class TestModels:
    def test_a_site_without_any_is_told_where_they_are_looked_for(self, check: Check):
        check.program(check.bin / "serve")
        site = write_site(check.folder, check.values)
        (check.folder / "models" / "tiny.yaml").unlink()
        assert main([str(site.root / "site.yaml")], environment={"PATH": str(check.bin)}) == 0
        said = check.said()
        assert f"there is no model's file (*.yaml) in {check.folder / 'models'}" in said


class TestAccessOfBatches:
    @pytest.fixture
    def shared(self) -> Iterator[Path]:
        with open_folder() as folder:
            yield folder

    def said(self, check: Check, folder: Path, **batches: Any) -> tuple[int, list[str]]:
        check.program(check.bin / "serve")
        check.values["batches"] = {"folders": [str(folder)], "access": "account"} | batches
        status, said = check.run()
        return status, [line for line in said.splitlines() if line.startswith("batches: ")]

    def test_files_that_will_do_are_no_word_worth(self, check: Check, shared: Path):
        file = identities(
            shared, {"alice@example.org": {"uid": 30117}, "bob": {"account": "nobody"}}
        )
        assert self.said(check, shared, identities_file=str(file)) == (0, [])
        more = {"access": "user", "run_as": ["env", "U={uid}"], "helper": str(installed(shared))}
        assert self.said(check, shared, identities_file=str(file), **more) == (0, [])

    def test_an_identities_file_that_is_wrong_is_told_with_the_line(
        self, check: Check, shared: Path
    ):
        file = identities(shared, {"alice": {"uid": "many"}})
        status, (said,) = self.said(check, shared, identities_file=str(file))
        assert status == 1
        assert "identities.yaml, line 2: alice.uid" in said

    def test_accounts_that_nobody_can_be_are_all_told(self, check: Check, shared: Path):
        people = {"alice": {"account": "no-such-account"}, "bob": {"account": "root"}}
        status, said = self.said(check, shared, identities_file=str(identities(shared, people)))
        assert status == 1
        assert "there is no account no-such-account" in said[0]
        assert "is root" in said[1]

    def test_an_identities_file_that_others_may_write_is_told(self, check: Check, shared: Path):
        file = identities(shared, {})
        file.chmod(0o620)
        status, said = self.said(check, shared, identities_file=str(file))
        assert (status, said) == (1, [f"batches: others may write {file}: chmod go-w {file}"])

    def test_a_mapping_that_is_none_is_told(self, check: Check, shared: Path):
        file = shared / "mapping.json"
        file.write_text("{")
        status, (said,) = self.said(check, shared, identity_mapping=str(file))
        assert status == 1
        assert f"{file} is not JSON" in said

    @pytest.mark.parametrize(
        ("what", "mode"),
        [("the program", 0o775), ("the program", 0o1775), ("its folder", 0o775), ("above", 0o775)],
    )
    def test_a_program_that_others_may_change_is_told(
        self, check: Check, shared: Path, what: str, mode: int
    ):
        folder = shared / "lib" / "exec"
        folder.mkdir(parents=True, mode=0o755)
        helper = installed(folder)
        path = {"the program": helper, "its folder": folder}.get(what, folder.parent)
        path.chmod(mode)
        status, (said,) = self.said(
            check,
            shared,
            access="user",
            identities_file=str(identities(shared, {})),
            run_as=["env", "U={uid}"],
            helper=str(helper),
        )
        assert status == 1
        assert said.startswith(f"batches: others may write {path}, and with that")

    def test_a_folder_in_which_others_may_change_a_link_to_the_program_is_told(
        self, check: Check, shared: Path
    ):
        folder = shared / "current"
        folder.mkdir()
        folder.chmod(0o775)
        helper = folder / "helper"
        helper.symlink_to(installed(shared))
        more = {"access": "user", "run_as": ["env", "U={uid}"], "helper": str(helper)}
        file = identities(shared, {})
        status, (said,) = self.said(check, shared, identities_file=str(file), **more)
        assert status == 1
        assert said.startswith(f"batches: others may write {folder}, and with that")

    def test_a_program_that_cannot_be_run_is_told(self, check: Check, shared: Path):
        helper = installed(shared)
        helper.chmod(0o644)
        more = {"access": "user", "run_as": ["env", "U={uid}"], "helper": str(helper)}
        file = identities(shared, {})
        status, (said,) = self.said(check, shared, identities_file=str(file), **more)
        assert status == 1
        assert said == f"batches: {helper} cannot be run: chmod a+rx {helper}"


class TestScheduler:
    def asked(self, check: Check, **provider: Any) -> tuple[int, list[str]]:
        check.program(check.bin / "serve")
        check.program(check.bin / "sinfo", f"/bin/cat <<'END'\n{SINFO}END")
        check.values["provider"] = provider
        status, said = check.run("--ask-scheduler")
        return status, [line for line in said.splitlines() if "serve" not in line]

    @pytest.mark.parametrize(
        "provider",
        [
            {},
            {"partition": "gpu"},
            {"partition": "gpu,cpu"},
            {"partition": "gpu", "constraint": "[a100*2|h100]&nvlink"},
        ],
    )
    def test_what_is_there_is_no_word_worth(self, check: Check, provider: dict[str, str]):
        assert self.asked(check, **provider) == (0, [])

    @pytest.mark.parametrize(
        ("provider", "said"),
        [
            (
                {"partition": "gpus"},
                "partition 'gpus': the scheduler has none of that name; it has cpu, gpu, old",
            ),
            ({"partition": "old"}, "partition 'old' is down"),
            (
                {"partition": "cpu", "constraint": "a100"},
                "constraint 'a100': no node of cpu has the feature a100",
            ),
            (
                {"constraint": "a100&b200"},
                "constraint 'a100&b200': no node of gpu has the feature b200",
            ),
        ],
    )
    def test_what_is_not_there_is_named(self, check: Check, provider: dict[str, str], said: str):
        assert self.asked(check, **provider) == (1, [said])

    def test_a_scheduler_without_a_default_wants_a_partition(self, check: Check):
        check.program(check.bin / "serve")
        check.program(check.bin / "sinfo", "echo 'gpu|up|x'")
        check.values["provider"] = {}
        status, said = check.run("--ask-scheduler")
        assert status == 1
        assert "no partition is named, and the scheduler has no default one; it has gpu" in said

    def test_one_that_does_not_answer_is_a_problem(self, check: Check):
        check.program(check.bin / "sinfo", "echo 'sinfo: error: away' >&2; exit 1")
        status, said = check.run("--ask-scheduler")
        assert status == 1
        assert "sinfo: error: away" in said

    def test_nobody_is_asked_unasked(self, check: Check):
        check.program(check.bin / "serve")
        check.program(check.bin / "sinfo", "exit 1")
        assert check.run()[0] == 0

    def test_the_cluster_is_named_where_one_command_serves_several(self):
        assert sinfo_partitions.arguments("a")[-1] == "--clusters=a"
        text = "CLUSTER: a\n" + SINFO
        assert [one.name for one in sinfo_partitions.read(text)] == ["gpu", "old", "cpu"]
        assert sinfo_partitions.read(SINFO)[0] == Partition(
            name="gpu", default=True, up=True, features=frozenset({"a100", "nvlink", "h100"})
        )


def test_models_are_said_on_their_own(check: Check, capsys: pytest.CaptureFixture[str]):
    check.program(check.bin / "serve")
    site = write_site(check.folder, check.values)
    main([str(site.root / "site.yaml")], environment={"PATH": str(check.bin)})
    assert capsys.readouterr().out == f"{MODEL} (vllm)\n"


def test_who_wants_instances_for_batches_in_vain_is_told_and_it_is_no_mistake(check: Check):
    """The same model's file may stand at sites that take batches."""
    for batches, is_told in ({}, True), ({"batches": {"keep_free_bytes": 0}}, False):
        check.program(check.bin / "serve")
        site = write_site(check.folder, check.values | batches)
        write_model(check.folder, "tiny.yaml", batch={"placement": "own"})
        assert main([str(site.root / "site.yaml")], environment={"PATH": str(check.bin)}) == 0
        said = f"{MODEL}: batch: placement: own does nothing here" in check.said()
        assert said == is_told
