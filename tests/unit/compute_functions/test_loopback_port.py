"""Ports of the loopback: who listens there, by the kernel's word."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from compute_functions import loopback_port

LISTEN = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    "print(s.getsockname()[1], flush=True); input()"
)
#: The bit of `CAP_SYS_PTRACE`, with which one may look into every process.
SYS_PTRACE = 1 << 19
ASK = """
import sys
from compute_functions import loopback_port
print(loopback_port.held_by_session(*map(int, sys.argv[1:])))
"""


def may_look_into_every_process() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (capabilities,) = (line.split()[1] for line in status if line.startswith("CapEff:"))
    return bool(int(capabilities, 16) & SYS_PTRACE)


def test_a_free_port_is_nobody_s() -> None:
    port = loopback_port.free()

    assert not loopback_port.held_by_us(port)
    assert not loopback_port.held_by_session(port, os.getsid(0))


def test_a_port_on_which_we_listen_is_ours_and_our_session_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert loopback_port.held_by_us(port)
        assert loopback_port.held_by_session(port, os.getsid(0))
        assert not loopback_port.held_by_session(port, os.getsid(0) + 1)


def test_a_connection_is_no_listener() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert not loopback_port.held_by_us(client.getsockname()[1])


def test_a_port_on_another_address_is_not_the_loopback_s() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert not loopback_port.held_by_us(server.getsockname()[1])


@pytest.mark.parametrize("session", [True, False])
def test_a_child_s_port_is_its_session_s(*, session: bool) -> None:
    with subprocess.Popen(  # noqa: S603 # this very Python
        [sys.executable, "-c", LISTEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=session,
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        held = loopback_port.held_by_session(port, child.pid)
        child.communicate("\n", timeout=30)

    assert held is session


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a program as another user")
def test_another_user_s_port_is_not_ours() -> None:
    with subprocess.Popen(  # noqa: S603 # this very Python
        ["/usr/bin/env", "python3", "-S", "-c", LISTEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=65534,
        cwd="/",
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        ours = loopback_port.held_by_us(port)
        child.communicate("\n", timeout=30)

    assert not ours


@pytest.mark.skipif(
    os.getuid() != 0 or not may_look_into_every_process() or shutil.which("setpriv") is None,
    reason="takes a root with CAP_SYS_PTRACE to give up, and setpriv to do it",
)
def test_open_files_that_are_listed_but_not_shown_are_none_of_ours() -> None:
    """Ask as a root who may list the open files of a mightier one, but not read what they are."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = subprocess.run(  # noqa: S603 # this very Python
            [
                *("/usr/bin/env", "setpriv", "--bounding-set=-sys_ptrace"),
                *(sys.executable, "-c", ASK),
                *(str(server.getsockname()[1]), str(os.getsid(0))),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (asked.returncode, asked.stdout) == (0, "False\n"), asked.stderr


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("http://127.0.0.1:8000", 8000),
        ("http://127.0.0.1:8000/", None),
        ("http://node1:8000", None),
        ("/run/engine.sock", None),
    ],
)
def test_the_port_of_an_address(address: str, port: int | None) -> None:
    assert loopback_port.of(address) == port
    assert port is None or loopback_port.endpoint(port) == address
