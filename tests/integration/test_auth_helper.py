"""The login helper as a person uses it: one file in an empty folder, globus_sdk, and a browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.requirements import Requirement

from auth_helper import inference_auth_token
from tests.support.local_globus import LocalGlobus

CLIENT = "10910000-0000-4000-8000-000000000001"
GATEWAY = "9a7e0000-0000-4000-8000-000000000001"
IDS = {"HOTNODE_AUTH_CLIENT_ID": CLIENT, "HOTNODE_AUTH_GATEWAY_ID": GATEWAY}
EXAMPLE_DOMAIN_ONLY = "90110000-0000-4000-8000-000000000001"
IDENTITIES = {
    "alice@example.org": "a11ce000-0000-4000-8000-000000000001",
    "bob@example.org": "b0b00000-0000-4000-8000-000000000001",
}
TOKENS = f".globus/app/{CLIENT}/inference_app/local-tokens.json"
PATIENCE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a run of the script ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A person's computer: a home, the script in a folder of its own, globus_sdk and no more."""

    home: Path
    globus: LocalGlobus
    variables: dict[str, str]

    @property
    def tokens(self) -> Path:
        return self.home / TOKENS

    def stored(self) -> dict[str, dict[str, str]]:
        return json.loads(self.tokens.read_text())["data"]["DEFAULT"]

    async def run(self, *arguments: str, typed: str = "", **variables: str) -> Finished:
        """Run the script with something on its standard input."""
        script = await self.start("inference_auth_token.py", *arguments, **variables)
        return await finished(script, typed)

    async def start(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """Start Python without its site-packages; warnings, as of leaked sockets, are errors."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-W", "error", *arguments),
            cwd=self.home / "downloads",
            env=self.variables | variables,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def log_in(self, username: str, *arguments: str, **variables: str) -> Finished:
        """Run `authenticate`, log in with the browser, and type the code."""
        script = await self.start("inference_auth_token.py", *arguments, **variables)
        shown, url = await read_url(script)
        code = await asyncio.to_thread(self.globus.approve, url, username)
        ended = await finished(script, f"{code}\n")
        return Finished(code=ended.code, out=shown + ended.out, err=ended.err)


async def read_url(script: asyncio.subprocess.Process) -> tuple[str, str]:
    """Return what the script prints up to the end of the line with the URL, and the URL."""
    assert script.stdout is not None
    shown = ""
    async with asyncio.timeout(PATIENCE_S):
        while line := (await script.stdout.readline()).decode():
            shown += line
            if line.startswith("http"):
                return shown, line.strip()
    raise AssertionError(f"no URL was printed: {shown}{await finished(script, '')}")


async def finished(script: asyncio.subprocess.Process, typed: str) -> Finished:
    async with asyncio.timeout(PATIENCE_S):
        out, err = await script.communicate(typed.encode())
    assert script.returncode is not None
    return Finished(code=script.returncode, out=out.decode(), err=err.decode())


@pytest.fixture(scope="session")
def only_globus_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder to import globus_sdk and what it needs from, and nothing else."""
    folder = tmp_path_factory.mktemp("only_globus_sdk")
    for name in needed_by(Requirement("globus-sdk")):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}:
            if top != "__pycache__":
                (folder / top).symlink_to(str(installed.locate_file(top)))
    return folder


def needed_by(requirement: Requirement) -> set[str]:
    """Return a distribution and all that it needs on this Python."""
    found = {requirement.name.lower()}
    for extra in requirement.extras | {""}:
        for text in distribution(requirement.name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                found |= needed_by(needed)
    return found


@pytest.fixture
async def machine(tmp_path: Path, only_globus_sdk: Path) -> AsyncIterator[Machine]:
    async with LocalGlobus() as globus:
        yield machine_for(globus, tmp_path, only_globus_sdk)


@pytest.fixture
async def always_refreshing(tmp_path: Path, only_globus_sdk: Path) -> AsyncIterator[Machine]:
    """Have tokens that last so short that each use refreshes them."""
    async with LocalGlobus(token_lifetime_s=30) as globus:
        yield machine_for(globus, tmp_path, only_globus_sdk)


def machine_for(globus: LocalGlobus, home: Path, only_globus_sdk: Path) -> Machine:
    source = Path(inference_auth_token.__file__)
    (home / "downloads").mkdir()
    shutil.copy(source, home / "downloads")
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(only_globus_sdk),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Machine(home=home, globus=globus, variables=variables | globus.environment() | IDS)


async def introspect(globus: LocalGlobus, token: str) -> dict[str, Any]:
    """Ask, as the gateway does, what a token is good for."""
    with globus.confidential("gateway") as gateway:
        return (await asyncio.to_thread(gateway.oauth2_token_introspect, token)).data


@pytest.mark.row("C-11")
@pytest.mark.row("C-12")
async def test_a_login_stores_tokens_in_the_home_folder_for_their_owner_alone(
    machine: Machine,
) -> None:
    login = await machine.log_in("alice@example.org", "authenticate")
    assert (login.code, login.err) == (0, "")
    assert f"Logged in. The tokens are in {machine.tokens}\n" in login.out
    assert "Next: python inference_auth_token.py get_access_token\n" in login.out
    assert machine.tokens.stat().st_mode & 0o777 == 0o600
    assert machine.stored()[GATEWAY]["identity_id"] == IDENTITIES["alice@example.org"]


async def test_the_next_command_works_where_python_is_another_one(machine: Machine) -> None:
    login = await machine.log_in("alice@example.org", "authenticate", PATH="/nowhere")
    [command] = re.findall(r"^Next: (.*)$", login.out, re.MULTILINE)
    assert command == f"{sys.executable} inference_auth_token.py get_access_token"


async def test_an_empty_code_is_asked_for_again(machine: Machine) -> None:
    script = await machine.start("inference_auth_token.py", "authenticate")
    _, url = await read_url(script)
    code = await asyncio.to_thread(machine.globus.approve, url, "alice@example.org")
    login = await finished(script, f"\n  \n{code}\n")
    assert (login.code, login.err) == (0, "")
    assert login.out.count("No code was typed.") == 2
    assert "Logged in." in login.out


@pytest.mark.row("C-13")
async def test_the_token_is_printed_alone_and_the_gateway_can_use_it(
    machine: Machine,
) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    printed = await machine.run("get_access_token")
    assert (printed.code, printed.err) == (0, "")
    assert re.fullmatch(r"\S+\n", printed.out)
    claims = await introspect(machine.globus, printed.out.strip())
    assert claims["active"] is True
    assert claims["username"] == "alice@example.org"
    assert claims["scope"] == f"https://auth.globus.org/scopes/{GATEWAY}/action_all"


@pytest.mark.row("C-13")
async def test_a_token_about_to_expire_is_refreshed(
    always_refreshing: Machine,
) -> None:
    await always_refreshing.log_in("alice@example.org", "authenticate")
    before = always_refreshing.stored()[GATEWAY]["access_token"]
    printed = await always_refreshing.run("get_access_token")
    assert (printed.code, printed.err) == (0, "")
    after = always_refreshing.stored()[GATEWAY]["access_token"]
    assert printed.out == f"{after}\n"
    assert after != before
    assert (await introspect(always_refreshing.globus, after))["active"] is True


@pytest.mark.row("C-13")
async def test_many_jobs_may_refresh_at_the_same_time(
    always_refreshing: Machine,
) -> None:
    await always_refreshing.log_in("alice@example.org", "authenticate")
    jobs = await asyncio.gather(*(always_refreshing.run("get_access_token") for _ in range(6)))
    assert [(job.code, job.err) for job in jobs] == [(0, "")] * 6
    claims = [await introspect(always_refreshing.globus, job.out.strip()) for job in jobs]
    assert all(claim["active"] for claim in claims)
    assert [path.name for path in always_refreshing.tokens.parent.iterdir()] == [
        always_refreshing.tokens.name
    ]


@pytest.mark.row("C-14")
async def test_the_time_left_is_what_globus_gave(machine: Machine) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    arguments = ("get_time_until_token_expiration", "--units", "hours")
    left = await machine.run(*arguments)
    assert (left.code, left.err) == (0, "")
    assert 47.9 <= float(left.out) <= 48


@pytest.mark.row("C-15")
async def test_force_asks_for_the_credentials_and_forgets_the_other_identity(
    machine: Machine,
) -> None:
    first = await machine.log_in("alice@example.org", "authenticate")
    second = await machine.log_in("bob@example.org", "authenticate", "--force")
    assert "prompt=login" not in first.out
    assert "prompt=login" in second.out
    assert (second.code, second.err) == (0, "")
    kept = {data["identity_id"] for data in machine.stored().values()}
    assert kept == {IDENTITIES["bob@example.org"]}


@pytest.mark.row("C-15")
async def test_a_forced_login_that_is_not_finished_keeps_the_old_one(machine: Machine) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    before = machine.tokens.read_text()
    assert (await machine.run("authenticate", "--force", typed="")).code == 3
    assert machine.tokens.read_text() == before


@pytest.mark.row("C-16")
async def test_the_function_can_be_imported(machine: Machine) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    program = "from inference_auth_token import get_access_token; print(get_access_token())"
    imported = await finished(await machine.start("-c", program), "")
    assert (imported.code, imported.err) == (0, "")
    assert imported.out == f"{machine.stored()[GATEWAY]['access_token']}\n"


@pytest.mark.row("C-20")
async def test_another_identity_is_detected_and_the_remedy_works(machine: Machine) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    before = machine.tokens.read_text()
    changed = await machine.log_in("bob@example.org", "authenticate")
    assert changed.code == 4
    assert "IdentityMismatchError: Detected a change in identity." in changed.err
    assert f"delete {machine.tokens} and log in again" in changed.err
    assert machine.tokens.read_text() == before
    machine.tokens.unlink()
    assert (await machine.log_in("bob@example.org", "authenticate")).code == 0
    assert machine.stored()[GATEWAY]["identity_id"] == IDENTITIES["bob@example.org"]


async def test_a_damaged_file_is_replaced_by_a_forced_login(machine: Machine) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    machine.tokens.write_text('{"data": ')
    assert (await machine.run("get_access_token")).code == 6
    repaired = await machine.log_in("alice@example.org", "authenticate", "--force")
    assert (repaired.code, repaired.err) == (0, "")
    assert (await machine.run("get_access_token")).code == 0


async def test_revoked_tokens_are_gone_here_and_at_globus(
    machine: Machine,
) -> None:
    await machine.log_in("alice@example.org", "authenticate")
    tokens = machine.stored()[GATEWAY]
    revoked = await machine.run("revoke_access_token")
    assert (revoked.code, revoked.err) == (0, "")
    assert "up to ten minutes" in revoked.out
    assert machine.stored() == {}
    assert await introspect(machine.globus, tokens["access_token"]) == {"active": False}
    assert (await machine.run("get_access_token")).code == 3
    again = await machine.run("revoke_access_token")
    assert (again.code, again.out) == (0, "No tokens are stored.\n")


@pytest.mark.row("C-19")
async def test_a_login_that_was_revoked_elsewhere_has_to_be_repeated(
    always_refreshing: Machine,
) -> None:
    await always_refreshing.log_in("alice@example.org", "authenticate")
    await always_refreshing.globus.revoke_all("alice@example.org")
    refused = await always_refreshing.run("get_access_token")
    assert (refused.code, refused.out) == (3, "")
    assert "Your login has expired or was revoked" in refused.err
    assert refused.err.endswith("Run: python inference_auth_token.py authenticate\n")
    assert (await always_refreshing.log_in("alice@example.org", "authenticate")).code == 0
    assert (await always_refreshing.run("get_access_token")).code == 0


async def test_without_a_login_the_command_to_run_is_named(machine: Machine) -> None:
    missing = await machine.run("get_access_token")
    assert (missing.code, missing.out) == (3, "")
    assert missing.err.startswith("error: You are not logged in")
    assert missing.err.endswith("Run: python inference_auth_token.py authenticate\n")


async def test_a_wrong_code_is_explained(machine: Machine) -> None:
    refused = await machine.run("authenticate", typed="not-a-code\n")
    assert refused.code == 3
    assert "Globus did not accept the code: it is good for one use, within minutes" in refused.err
    assert "Run: python inference_auth_token.py authenticate\n" in refused.err
    assert "Traceback" not in refused.err


async def test_no_terminal_to_type_at_is_explained(machine: Machine) -> None:
    silent = await machine.run("authenticate", typed="")
    assert silent.code == 3
    assert "No code was entered" in silent.err
    assert "Traceback" not in silent.err


async def test_an_outage_of_globus_is_explained(machine: Machine) -> None:
    await machine.globus.set_weather("auth", status=503)
    refused = await machine.run("authenticate", typed="a-code\n")
    assert refused.code == 5
    assert "Globus answered 503" in refused.err


@pytest.mark.row("C-18")
async def test_the_required_policy_is_part_of_the_login(machine: Machine) -> None:
    policy = {"HOTNODE_AUTH_SESSION_POLICIES": EXAMPLE_DOMAIN_ONLY}
    domain = {"HOTNODE_AUTH_SESSION_DOMAINS": "example.org,partner.example"}
    admitted = await machine.log_in("alice@example.org", "authenticate", **policy, **domain)
    assert admitted.code == 0
    assert f"session_required_policies={EXAMPLE_DOMAIN_ONLY}" in admitted.out
    assert "session_required_single_domain=example.org%2Cpartner.example" in admitted.out
    with pytest.raises(requests.HTTPError, match="403"):
        await machine.log_in("eve@evil.example", "authenticate", **policy)


async def test_two_deployments_are_kept_apart(machine: Machine) -> None:
    other = ("--app-name", "second service")
    await machine.log_in("alice@example.org", "authenticate")
    await machine.log_in("bob@example.org", "authenticate", *other)
    first, second = (
        await machine.run("get_access_token"),
        await machine.run("get_access_token", *other),
    )
    assert (first.code, second.code) == (0, 0)
    assert first.out != second.out
    assert (machine.tokens.parents[1] / "second-service" / machine.tokens.name).exists()


@pytest.mark.row("C-11")
async def test_a_script_that_the_centre_filled_in_needs_no_configuration(machine: Machine) -> None:
    script = machine.home / "downloads" / "inference_auth_token.py"
    empty = "DEPLOYMENT: dict[str, object] = {}"
    filled = {
        "client_id": CLIENT,
        "gateway_id": GATEWAY,
        "app_name": "inference_app",
        "base_url": "https://inference.example.org/resource_server/",
    }
    assert empty in script.read_text()
    script.write_text(script.read_text().replace(empty, f"DEPLOYMENT = {filled}"))
    for name in IDS:
        del machine.variables[name]
    login = await machine.log_in("alice@example.org", "authenticate")
    assert login.code == 0
    assert "https://inference.example.org/resource_server/list-endpoints\n" in login.out
    assert (await machine.run("get_access_token")).code == 0
    own = {"HOTNODE_AUTH_APP_NAME": "the-user's-choice"}
    assert (await machine.run("get_access_token", **own)).code == 3


async def test_a_missing_globus_sdk_is_explained(machine: Machine) -> None:
    missing = await machine.run("get_access_token", PYTHONPATH="")
    assert missing.code == 1
    assert "No module named 'globus_sdk'" in missing.err
    assert "Run: pip install 'globus-sdk>=4.9,<5'" in missing.err
    assert "Traceback" not in missing.err
