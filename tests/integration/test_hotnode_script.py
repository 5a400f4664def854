"""What `./hotnode test` demands before it tests: a copy of the script, and a Python that notes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from resource_server.__main__ import main

ROOT = Path(__file__).parents[2]
#: Notes what it is asked to run. The check of packages fails where `there` is missing.
_PYTHON = """\
#!/bin/sh
case $* in
-c*) exit 0 ;;
--version) echo "Python 3.11.0"; exit 0 ;;
esac
echo "$*" >>"{folder}/asked"
case $* in
"-m lab.system.packages --install") touch "{folder}/there" ;;
"-m lab.system.packages") test -e "{folder}/there" ;;
*) exit 3 ;;
esac
"""
CHECK, INSTALL = "-m lab.system.packages", "-m lab.system.packages --install"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    status: int | None
    output: str
    errors: str


class Copy:
    """The script in a folder of its own, where making the environment fails at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "requirements").mkdir()
        for name in ("hotnode", "pyproject.toml", "requirements/dev.txt"):
            shutil.copy(ROOT / name, folder / name)
        self._python = folder / "python-that-notes"
        self._python.write_text(_PYTHON.format(folder=folder))
        self._python.chmod(0o755)

    async def test(self, *arguments: str) -> Said:
        """Run `hotnode test`."""
        return await self.run("test", *arguments)

    async def run(self, *arguments: str) -> Said:
        """Run `hotnode`."""
        process = await asyncio.create_subprocess_exec(
            self.folder / "hotnode",
            *arguments,
            env=os.environ | {"PYTHON": str(self._python)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 30)
        return Said(status=process.returncode, output=output.decode(), errors=errors.decode())

    @property
    def asked(self) -> list[str]:
        """What the Python was asked to run."""
        asked = self.folder / "asked"
        return asked.read_text().splitlines() if asked.exists() else []

    @property
    def makes_environment(self) -> list[str]:
        """The step that comes after the packages."""
        return [f"-m venv {self.folder}/.venv"]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


async def test_missing_servers_end_a_whole_run_before_anything_is_made(copy: Copy) -> None:
    said = await copy.test()
    assert said.status == 1
    assert "./hotnode test --install-system" in said.errors
    assert copy.asked == [CHECK]


async def test_servers_that_are_there_let_it_go_on(copy: Copy) -> None:
    (copy.folder / "there").touch()
    await copy.test()
    assert copy.asked == [CHECK, *copy.makes_environment]


@pytest.mark.parametrize("rest", [(), ("tests/unit", "-q")])
async def test_they_are_installed_on_request_alone(copy: Copy, rest: tuple[str, ...]) -> None:
    await copy.test("--install-system", *rest)
    assert copy.asked == [INSTALL, *copy.makes_environment]


async def test_a_part_of_the_tests_does_not_demand_them(copy: Copy) -> None:
    await copy.test("tests/unit")
    assert copy.asked == copy.makes_environment


@pytest.mark.parametrize("command", ["demo", "check", "rows", "docs"])
async def test_help_and_wrong_words_are_answered_before_anything_is_made(
    copy: Copy, command: str
) -> None:
    assert (await copy.run(command, "--help")).status == 0
    wrong = await copy.run(command, "--exot")
    assert wrong.status == 2
    assert wrong.errors == (
        f"hotnode: {command}: what is '--exot'? ./hotnode --help lists what there is\n"
    )
    assert copy.asked == []


@pytest.mark.parametrize("command", ["serve", "migrate", "check-catalog", "model", "settings"])
async def test_help_of_the_gateway_s_commands_makes_no_environment(
    copy: Copy, command: str
) -> None:
    said = await copy.run(command, "--help")
    assert (said.status, copy.asked) == (0, [])
    assert command in said.output


async def test_help_of_batches_makes_no_environment(copy: Copy) -> None:
    said = await copy.run("batch", "submit", "--help")
    assert (said.status, copy.asked) == (0, [])
    assert "batch submit" in said.output
    await copy.run("batch", "list")
    assert copy.asked == copy.makes_environment


async def test_help_without_the_environment_names_every_option(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    said = await copy.run("serve", "--help")
    for command in ("serve", "check-catalog"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert options - {"--help"} <= set(re.findall(r"--[a-z-]+", said.output))


async def test_an_unknown_command_is_answered_in_one_line(copy: Copy) -> None:
    said = await copy.run("demonstrate")
    assert said.status == 1
    assert said.errors == (
        "hotnode: there is no command 'demonstrate'; ./hotnode --help lists those that there are\n"
    )
