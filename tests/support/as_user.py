"""What runs a program as another local user in tests, as `sudo` does at a site."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compute_functions.batch_access import as_user
from tests.support.batch_orders import ALICES_ID, BatchSite, batch_site, identities, lines
from tests.support.open_folder import owned

#: A user and a group that no machine has by name.
USER, GROUP = 39_117, 39_118
#: Another one, and who is in no group of theirs.
OTHER, ELSEWHERE = 39_217, 39_218
#: Changes the user for good: nothing of root's powers stays.
RUN_AS = ["setpriv", "--reuid={uid}", "--regid={gid}", "--clear-groups", "--inh-caps=-all", "--"]
#: The interpreter in the first line of `as_user`; that of the tests may stand in a closed folder.
SYSTEMS_PYTHON = Path("/usr/bin/python3")


def require_switch() -> None:
    """Skip the test where no user can be changed."""
    if os.geteuid() != 0:
        pytest.skip("only root runs programs as other users")
    if shutil.which("setpriv") is None or not SYSTEMS_PYTHON.exists():
        pytest.skip("setpriv and the system's Python are needed")


def installed(folder: Path) -> Path:
    """Put the helper where every user can run it, as operators do."""
    made = folder / "hotnode-as-user"
    shutil.copyfile(as_user.__file__, made)
    made.chmod(0o755)
    return made


def users_site(folder: Path, *, access: str = "user", **batches: Any) -> BatchSite:
    """Make a site in `folder` that knows one user, who has a closed home there with an input."""
    home = owned(folder / "home", uid=USER, gid=GROUP, mode=0o700)
    owned(home / "input.jsonl", uid=USER, gid=GROUP, mode=0o600).write_bytes(lines())
    owned(home / "out", uid=USER, gid=GROUP, mode=0o700)
    identities(folder, {ALICES_ID: {"uid": USER, "gids": [GROUP]}})
    values: dict[str, Any] = {
        "access": access,
        "folders": [str(folder)],
        "identities_file": str(folder / "identities.yaml"),
    }
    if access == "user":
        values |= {"run_as": RUN_AS, "helper": str(installed(folder))}
    return batch_site(folder, **values | batches)


def as_them(*command: str, user: int = USER, group: int = GROUP) -> str:
    """Run a program as a user and return what it prints: the kernel's own answer."""
    switch = [f"--reuid={user}", f"--regid={group}", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run(  # noqa: S603 - our own words
        ["setpriv", *switch, "--", *command],  # noqa: S607 - wherever the system has it
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout
