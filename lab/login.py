"""A person who logs in with the login helper: reads the address, clicks, and types the code."""

from __future__ import annotations

import asyncio
import html
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from compute_functions.child_group import ended_if_given_up, started

HELPER = Path(__file__).parents[1] / "auth_helper" / "inference_auth_token.py"
TIMEOUT_S = 30.0


class LoginFailed(RuntimeError):
    """The helper or the login page did not do what a person would expect."""


async def log_in(username: str, environment: Mapping[str, str]) -> None:
    """Run the helper's `authenticate` and play the person at the login page."""
    both = asyncio.subprocess.STDOUT
    async with _helper("authenticate", environment, stderr=both) as process:
        shown = await _until_address(process)
        output, _ = await process.communicate(await _code_for(username, shown))
    if process.returncode:
        raise LoginFailed(output.decode())


async def access_token(environment: Mapping[str, str]) -> str:
    """Return what the helper's `get_access_token` prints."""
    async with _helper("get_access_token", environment) as process:
        output, problem = await process.communicate()
    if process.returncode:
        raise LoginFailed(problem.decode())
    return output.decode().strip()


@asynccontextmanager
async def _helper(
    action: str, environment: Mapping[str, str], *, stderr: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the helper beside the body, which has so long for it; then it is gone."""
    process = await started(
        asyncio.create_subprocess_exec(
            sys.executable,
            str(HELPER),
            action,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    )
    async with ended_if_given_up(process), asyncio.timeout(TIMEOUT_S):
        yield process


async def _until_address(process: asyncio.subprocess.Process) -> str:
    """Return the address that the helper prints, without the host that only the SDK knows."""
    if process.stdout is None:
        raise LoginFailed("the helper has no output")
    seen = ""
    while line := (await process.stdout.readline()).decode():
        seen += line
        if found := re.search(r"https?://\S+", line):
            return found.group(0)
    raise LoginFailed(f"the helper printed no address:\n{seen}")


async def _code_for(username: str, address: str) -> bytes:
    """Log in on the page at `address` and return the code it shows, as a line to type."""
    async with aiohttp.ClientSession() as browser:
        async with browser.get(address) as page:
            page.raise_for_status()
        async with browser.post(address, data={"username": username}) as page:
            page.raise_for_status()
            text = await page.text()
    found = re.search(r'<pre id="code">(.*?)</pre>', text)
    if not found:
        raise LoginFailed(f"the login page shows no code:\n{text}")
    return html.unescape(found.group(1)).encode() + b"\n"
