"""The command and the environment of one runner."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batch.commands.run_options import CACHE_SALT
from compute_functions.batch_spool import checking
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchOrder

#: Lines under way when a runner must leave are awaited for so long (seconds). What takes longer is
#: asked again elsewhere: no instance is held up by it.
DRAIN_S = 30.0
#: An engine that is away is waited for so long; then its instance is given up (seconds).
PATIENCE_S = 60.0
#: All that a runner gets of our environment, which may hold secrets of the site.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
#: A runner asks an engine of its own host, never by TLS. Without this it would read the system's
#: certificates when it begins, which takes 0.13 s of the 2 s within which a batch goes on.
_NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The engine that a runner asks.

    `endpoint` is the path of its Unix socket, or an address, or None: a runner that only looks an
    input through, or writes results out, asks nobody. `paths` maps what lines may name to
    the engine's own. `priority` is sent with each line. `load_file` says how many interactive
    requests there are.
    """

    endpoint: str | None = None
    key_file: Path | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    load_file: Path | None = None


def command(order: BatchOrder, folder: BatchFolder, epoch: int, target: Target) -> list[str]:
    """Return what is to be run."""
    return [
        *(sys.executable, "-P", "-m", "batch", "run"),
        *("--folder", str(folder.work), "--epoch", str(epoch)),
        *("--model", order.model),
        *("--most-lines", str(order.most_lines), "--most-bytes", str(order.most_bytes)),
        *([] if order.most_inputs is None else ["--most-inputs", str(order.most_inputs)]),
        *([] if order.endpoint is None else ["--endpoint", order.endpoint]),
        *(f"--allow-endpoint={path}" for path in sorted(checking.rules(order).endpoints)),
        *(f"--reserved={field}" for field in order.reserved),
        *("--drain-s", f"{DRAIN_S:g}", "--patience-s", f"{PATIENCE_S:g}"),
        *_engine(target),
    ]


def _engine(target: Target) -> list[str]:
    if target.endpoint is None:
        return ["--no-engine"]
    is_socket = target.endpoint.startswith("/")
    given = ["--socket" if is_socket else "--url", target.endpoint]
    if target.key_file is not None:
        given += ["--api-key-file", str(target.key_file)]
    for public, own in target.paths.items():
        if public != own:
            given += ["--path", f"{public}={own}"]
    if target.priority is not None:
        given += ["--priority", str(target.priority)]
    if target.load_file is not None:
        given += ["--load", str(target.load_file)]
    return given


def environment(order: BatchOrder, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a runner; the salt is in there, where only its account reads it."""
    inherited = {name: ours[name] for name in _INHERITED if name in ours}
    salt = {} if order.cache_salt is None else {CACHE_SALT: order.cache_salt}
    return {**inherited, **_NO_CERTIFICATES, **salt}
