"""Seeded people of the stand-in, who log in with the product's own helper."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import login
from lab.login import HELPER
from lab.stand_in import StandIn, client_id


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who may ask a gateway of `globus`; each has a home in `folder`."""

    folder: Path
    globus: StandIn

    def login_environment(self, username: str) -> dict[str, str]:
        """Return the environment of a person's login helper, with a home of the lab's own."""
        return self.globus.environment() | {
            "HOME": str(self.folder / "people" / username),
            "HOTNODE_AUTH_CLIENT_ID": client_id("login-helper"),
            "HOTNODE_AUTH_GATEWAY_ID": client_id("gateway"),
        }

    async def token_of(self, username: str) -> str:
        """Log in as a seeded person with the login helper and return the access token."""
        environment = self.login_environment(username)
        await login.log_in(username, environment)
        return await login.access_token(environment)

    def write_token_command(self, username: str) -> Path:
        """Write a script that prints a fresh token of a person who has logged in."""
        script = self.folder / "token"
        names = ("HOME", "HOTNODE_AUTH_", "GLOBUS_SDK_", "http_proxy", "no_proxy", "NO_PROXY")
        exports = [
            f"export {name}={shlex.quote(value)}"
            for name, value in self.login_environment(username).items()
            if name.startswith(names)
        ]
        command = shlex.join([sys.executable, str(HELPER), "get_access_token"])
        script.write_text("\n".join(["#!/bin/sh", *exports, f"exec {command}\n"]), encoding="utf-8")
        script.chmod(0o700)
        return script
