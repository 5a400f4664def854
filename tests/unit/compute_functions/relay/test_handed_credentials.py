"""Credentials from a file: each once, waited for, told apart from those that are of no use."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import jwt
import pytest
from typing_extensions import override

from compute_functions import enrol
from compute_functions.errors import ConfigurationError
from compute_functions.relay import handed_credentials
from compute_functions.relay.credentials import Claims, signed
from compute_functions.relay.enrolment import key_file
from compute_functions.relay.handed_credentials import CredentialFile, HandedCredentials
from compute_functions.site import SiteDirectory
from resource_server.adapters.relay.credentials import read_credential

CLAIMS = Claims(cluster="alpha", instance="i-1", job="77", framework="vllm", model="vendor/model")


@pytest.fixture
def enrolled(tmp_path: Path) -> SiteDirectory:
    site = SiteDirectory(tmp_path / "site")
    arguments = ["--site-dir", str(site.root), "--cluster", "alpha", "--insecure"]
    assert enrol.main([*arguments, "--hub", "ws://127.0.0.1:1"]) == 0
    return site


def made(site: SiteDirectory, count: int, *, valid_s: float = 3600) -> tuple[str, ...]:
    return signed(key_file(site), CLAIMS, valid_s=valid_s, count=count)


async def test_each_is_given_once_and_more_may_come(enrolled: SiteDirectory) -> None:
    file = CredentialFile.of(enrolled, "i-1")
    first = made(enrolled, 2)
    file.write(first)
    handed = HandedCredentials(file, wait_s=0.01)

    assert [await handed.new(), await handed.new()] == list(first)
    assert handed.left == 0
    with pytest.raises(ConfigurationError, match="holds no unused credential"):
        await handed.new()
    more = made(enrolled, 1)
    file.write(file.read() + more)
    await handed.look()
    assert handed.left == 1
    assert await handed.new() == more[0]


class FileThatHangs(CredentialFile):
    """Keeps its readers until it is told to answer, and counts them."""

    __slots__ = ("answers", "readers")
    answers: threading.Event
    readers: list[None]

    def __init__(self) -> None:
        super().__init__(Path("hangs"))
        object.__setattr__(self, "answers", threading.Event())
        object.__setattr__(self, "readers", [])

    @override
    def read(self) -> tuple[str, ...]:
        self.readers.append(None)
        self.answers.wait(20)
        return ()


async def test_a_disk_that_hangs_keeps_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handed_credentials, "READ_WITHIN_S", 0.05)
    file = FileThatHangs()
    handed = HandedCredentials(file)
    try:
        for _ in range(3):
            with pytest.raises(ConfigurationError, match="cannot be read within"):
                await handed.look()
        assert len(file.readers) == 1
    finally:
        file.answers.set()


async def test_links_that_ask_at_once_get_different_ones(enrolled: SiteDirectory) -> None:
    file = CredentialFile.of(enrolled, "i-1")
    file.write(made(enrolled, 8))
    handed = HandedCredentials(file)

    assert len(set(await asyncio.gather(*(handed.new() for _ in range(8))))) == 8


async def test_a_file_that_is_written_late_is_waited_for(enrolled: SiteDirectory) -> None:
    file = CredentialFile.of(enrolled, "i-1")
    waiting = asyncio.create_task(HandedCredentials(file, look_every_s=0.01).new())
    await asyncio.sleep(0)
    (given,) = made(enrolled, 1)
    file.write((given,))

    async with asyncio.timeout(20):
        assert await waiting == given


async def test_what_has_expired_or_is_none_does_not_count(enrolled: SiteDirectory) -> None:
    file = CredentialFile.of(enrolled, "i-1")
    (good,) = made(enrolled, 1)
    file.write((*made(enrolled, 1, valid_s=-1), "no credential", good))
    handed = HandedCredentials(file)

    await handed.look()
    assert handed.left == 1
    assert await handed.new() == good


@pytest.mark.parametrize("text", ["", "[]", '{"credentials": [1]}', '{"credentials": 1}', "{}"])
def test_a_file_that_holds_none_is_named(enrolled: SiteDirectory, text: str) -> None:
    file = CredentialFile.of(enrolled, "i-1")
    file.path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"i-1\.json holds no credentials"):
        file.read()


def test_a_hub_takes_what_was_signed_for_a_queue_and_a_walltime(
    enrolled: SiteDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enrol.main(
        ["--site-dir", str(enrolled.root), "--cluster", "alpha", "--hub", "https://hub.example"]
    ) == 0  # fmt: skip
    public = capsys.readouterr().out.rpartition('"')[0].rpartition('"')[2]
    first, second = made(enrolled, 2, valid_s=30 * 86_400)

    found = read_credential(first, cluster="alpha", key=public)
    assert (found.instance.instance, found.instance.job) == ("i-1", "77")
    assert found.name != read_credential(second, cluster="alpha", key=public).name
    assert jwt.decode(first, options={"verify_signature": False})["framework"] == "vllm"
