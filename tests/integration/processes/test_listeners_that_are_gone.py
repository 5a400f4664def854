"""Whoever started a process may be gone, or may not listen: it serves, and ends in good order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from resource_server.adapters import systemd

ROOT = Path(__file__).parents[3]
#: A server that says when it serves, and when its lifespan ends: leases are released there.
PROGRAM = """
import socket
import sys
from pathlib import Path
import uvicorn
from resource_server.config import Settings
from resource_server.startup import configure_django

state = Path(sys.argv[1])
configure_django(Settings(
    state_dir=state, secret_key="k" * 40, globus_client_file=state, globus_clients_dir=state
))
from resource_server.server import Server

async def app(scope, receive, send):
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    print("serves", flush=True)
    assert (await receive())["type"] == "lifespan.shutdown"
    print("released", flush=True)
    await send({"type": "lifespan.shutdown.complete"})

config = uvicorn.Config(app, lifespan="on", log_config=None)
Server(config).run([socket.create_server(("127.0.0.1", 0))])
"""


def gone(folder: Path) -> dict[str, str]:
    """Return an environment that names a socket to which nobody listens any more."""
    path = folder / "gone.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
    return {systemd.VARIABLE: str(path)}


@pytest.mark.parametrize("stale", [True, False])
def test_a_socket_without_anybody_is_one_warning(tmp_path: Path, *, stale: bool) -> None:
    environ = gone(tmp_path)
    if not stale:
        (tmp_path / "gone.sock").unlink()
    with capture_logs() as logs:
        systemd.notify_stopping(environ)
    assert [entry["event"] for entry in logs] == ["manager_not_told"]


def test_who_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    with systemd.noticing(tmp_path) as notices, capture_logs() as logs:
        while not logs:
            systemd.notify_ready(notices.environment)
    assert [entry["event"] for entry in logs] == ["manager_not_told"]


async def test_a_server_whose_manager_is_gone_ends_in_good_order(tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path)),
        env={**os.environ, **gone(tmp_path)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(60):
            while await server.stdout.readline() != b"serves\n":
                assert server.returncode is None
            server.send_signal(signal.SIGTERM)
            rest = await server.stdout.read()
            await server.wait()
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
    assert b"released\n" in rest
