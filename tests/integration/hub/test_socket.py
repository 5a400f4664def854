from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from resource_server.adapters.hub.socket_file import HubSocketTaken, listening


def test_only_its_owner_can_reach_the_hub(address: Path) -> None:
    with listening(address):
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
    assert not address.exists()


def test_there_is_one_hub_at_a_socket(address: Path) -> None:
    with listening(address), pytest.raises(HubSocketTaken, match="Another hub"):  # noqa: SIM117 # the second within the first
        with listening(address):
            pass
    with listening(address):
        pass


def test_what_a_killed_hub_left_behind_is_in_nobody_s_way(address: Path) -> None:
    address.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(address))
    with listening(address), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))


def test_a_folder_that_others_may_enter_is_refused(address: Path) -> None:
    address.parent.mkdir(mode=0o755)
    with pytest.raises(HubSocketTaken, match="chmod 700"), listening(address):
        pass


def test_a_path_that_is_too_long_is_refused_with_the_setting(address: Path) -> None:
    long = address.with_name("h" * 100)
    with pytest.raises(HubSocketTaken, match="HOTNODE_HUB_SOCKET"), listening(long):
        pass
