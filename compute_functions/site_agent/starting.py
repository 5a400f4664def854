"""Starts the agent as a process of its own, which outlives whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from compute_functions import globus_client
from compute_functions.schedulers import commands
from compute_functions.site import VARIABLE, SiteDirectory
from compute_functions.site_config import SiteConfig

#: How Python runs the agent; a file in the working directory must not stand in for a module.
MODULE = ("-P", "-m", "compute_functions.site_agent")
#: What the agent inherits from who starts it, beside what commands of a scheduler need: an
#: endpoint's environment holds secrets beside this.
INHERITED = (
    *("SHELL", "TMPDIR", "PBS_CONF_FILE", "PBS_SERVER", "HOTNODE_ENGINES_DIR"),
    "SSL_CERT_DIR",
)
#: Of several who would start an agent one does; another may after so long (seconds).
AGAIN_S = 10.0


def log_file(site: SiteDirectory) -> Path:
    """Return where the agent writes what it does."""
    return site.logs / "site_agent.log"


def environment(ours: Mapping[str, str], site: SiteDirectory, config: SiteConfig) -> dict[str, str]:
    """Return the agent's environment."""
    inherited = [*INHERITED, *config.job.inherit]
    if config.keeper is not None and config.keeper.client_secret_file is None:
        # The site lets the agent act as the endpoint's own client.
        inherited += [globus_client.ID, globus_client.SECRET]
    if config.keeper is not None:
        inherited += [name for name in ours if name.startswith("GLOBUS_SDK_")]
    kept = commands.environment(ours, inherit=tuple(inherited))
    return kept | {VARIABLE: str(site.root.absolute())}


def is_ours(site: SiteDirectory) -> bool:
    """Tell whether it is for the caller to start an agent, and not for another who just did."""
    marker = site.agent / "starting"
    for _ in range(2):
        try:
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            with suppress(FileNotFoundError):  # Another caller has just found it too old.
                if abs(time.time() - marker.stat().st_mtime) < AGAIN_S:
                    return False
            marker.unlink(missing_ok=True)
        else:
            return True
    return False


def start(site: SiteDirectory, config: SiteConfig, *, within_s: float) -> None:
    """Start an agent and return. One that finds another at work ends by itself.

    A process in between starts it and ends: the agent is nobody's child here, and no zombie later.
    """
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, *MODULE, "start", "--site-dir", str(site.root.absolute())],
        env=environment(os.environ, site, config),
        cwd=site.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=within_s,
        check=True,
    )


def detach(site: SiteDirectory, config: SiteConfig) -> int:
    """Start the agent in a session of its own, with a log of its own; return its process id."""
    # Beside its log: what Python itself says when all is lost.
    descriptor = os.open(log_file(site), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [
                *(sys.executable, *MODULE, "run", "--unless-running"),
                *("--site-dir", str(site.root.absolute()), "--log-file", str(log_file(site))),
            ],
            env=environment(os.environ, site, config),
            cwd=site.root,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    finally:
        os.close(descriptor)
    return process.pid
