"""Cut connections, busy gateways, tokens that expire: what a person notices of them is a pause."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from batch.client import batches, downloading
from batch.client.batches import Order
from batch.client.errors import NotAsTold, Unreachable
from batch.client.gateway import opened
from batch.client.patience import Patience
from batch.client.submission import submit
from batch.client.token import FixedToken
from tests.support.batch_client import Person
from tests.support.batch_runs import line, write_input
from tests.support.troubled_gateway import GatewayThatBreaksOff, serving

CONTENT = bytes(range(256)) * 20_000


def quick() -> Patience:
    """Return a patience that hardly waits."""
    return Patience(timeout_s=20.0, first_s=0.01, longest_s=0.01)


def content(path: Path) -> bytes:
    """Return what a file holds."""
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    """Return what there is in a folder."""
    return [path.name for path in folder.iterdir()]


def nobody(done: int, size: int) -> None:
    """Tell nobody how far it is."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_input(tmp_path / "in.jsonl", (line(number) for number in range(5_000)))


async def test_an_upload_that_is_cut_is_sent_anew(source: Path) -> None:
    troubled = GatewayThatBreaksOff(cut_uploads=2, busy=1)
    async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
        await submit(gateway, source, "in.jsonl", Order(key="k"), nobody)
    assert list(troubled.files.values()) == [content(source)]
    assert troubled.took("POST", "files") == 3


async def test_a_batch_whose_answer_was_lost_is_made_once(source: Path) -> None:
    troubled = GatewayThatBreaksOff(cut_answers=2)
    async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
        batch = await batches.create(gateway, Order(key="k", input_file_id="file-0"))
    assert troubled.took("POST", "batches") == 3
    assert [one["id"] for one in troubled.batches.values()] == [batch.id]


@pytest.mark.parametrize("tells_sums", [True, False])
async def test_a_download_goes_on_where_it_was_cut(tmp_path: Path, tells_sums: bool) -> None:
    troubled = GatewayThatBreaksOff(
        cut_downloads=[1_000_000, 0, 2_000_000], tells_sums=tells_sums, files={"file-1": CONTENT}
    )
    target = tmp_path / "out"
    async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
        found = await downloading.fetch(gateway, "file-1", target, nobody)
    assert target.read_bytes() == CONTENT
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    begins = [int(one.removeprefix("bytes=").rstrip("-") or 0) for one in troubled.ranges]
    assert begins[0] == 0
    assert begins == sorted(begins)
    assert begins[-1] > 0
    assert names(tmp_path) == ["out"]


async def test_what_an_earlier_command_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    target = tmp_path / "out"
    part = tmp_path / ".out.file-1.part"
    for here in (1_000, len(CONTENT)):
        troubled = GatewayThatBreaksOff(files={"file-1": CONTENT})
        part.write_bytes(CONTENT[:here])
        async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
            found = await downloading.fetch(gateway, "file-1", target, nobody)
        assert target.read_bytes() == CONTENT
        assert found.resumed_at == here
        assert troubled.ranges == [f"bytes={min(here, len(CONTENT) - 1)}-"]


async def test_an_empty_file_is_one(tmp_path: Path) -> None:
    troubled = GatewayThatBreaksOff(files={"file-1": b""})
    async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
        await downloading.fetch(gateway, "file-1", tmp_path / "out", nobody)
    assert (tmp_path / "out").read_bytes() == b""


async def test_what_came_damaged_is_not_kept(tmp_path: Path) -> None:
    troubled = GatewayThatBreaksOff(files={"file-1": CONTENT}, lies=True)
    (tmp_path / "out").write_text("before")
    async with serving(troubled) as url, opened(url, FixedToken("good"), quick()) as gateway:
        with pytest.raises(NotAsTold):
            await downloading.fetch(gateway, "file-1", tmp_path / "out", nobody)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_text() == "before"


async def test_a_gateway_that_stays_away_is_given_up_aloud() -> None:
    heard: list[str] = []
    patience = Patience(timeout_s=2.0, first_s=0.01, longest_s=0.05, say=heard.append)
    async with serving(GatewayThatBreaksOff()) as url:
        pass
    async with opened(url, FixedToken("good"), patience) as gateway:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await batches.get(gateway, "batch_0")
    assert len(heard) >= 2
    assert all("asking again in" in words for words in heard)


async def test_a_token_that_expired_is_asked_for_again(tmp_path: Path, source: Path) -> None:
    # As the login's command: the second time it prints another one.
    command = tmp_path / "token"
    command.write_text(f'#!/bin/sh\ncat "{tmp_path}/tokens"\necho good >"{tmp_path}/tokens"\n')
    command.chmod(0o755)
    (tmp_path / "tokens").write_text("old\n")
    troubled = GatewayThatBreaksOff()
    async with serving(troubled) as url:
        person = Person(
            folder=tmp_path,
            base_url=url,
            variables={"OPENAI_API_KEY": "", "HOTNODE_TOKEN_COMMAND": str(command)},
        )
        said = await person.batch("submit", source, "--watch", "--json")
    assert said.status == 0, said.out
    assert said.lines[-1]["batch"]["status"] == "completed"
    assert len(troubled.files) == 1


@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        ((), {"OPENAI_API_KEY": "sk-other"}, "the token in OPENAI_API_KEY: unset that"),
        (
            ("--token-command", "echo a"),
            {},
            "the token that --token-command prints: leave that out",
        ),
        (
            (),
            {"OPENAI_API_KEY": "", "HOTNODE_TOKEN_COMMAND": "echo a"},
            "the token that the command in HOTNODE_TOKEN_COMMAND prints: unset that",
        ),
    ],
)
async def test_whose_token_is_refused_is_told_where_it_came_from(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str], told: str
) -> None:
    async with serving(GatewayThatBreaksOff()) as url:
        person = Person(folder=tmp_path, base_url=url, variables=variables)
        said = await person.batch("list", *words)
    assert said.status == 5
    assert told in said.err
    assert "authenticate" not in said.err
    # Nor a second piece of advice, in the gateway's words.
    assert "expired" not in said.err


@pytest.mark.parametrize(
    ("status", "code", "tail"),
    [
        (403, "permission_denied", ""),
        (403, "batch_not_offered", ""),
        (404, "model_not_found", ""),
        (404, "file_not_found", ""),
        (404, "batch_not_found", "`batch list` shows yours. "),
        (404, "not_found", "A base URL ends with /v1. "),
        (404, "", "A base URL ends with /v1. "),
        (413, "payload_too_large", ""),
        (413, "", "Cut the file in two, or name a file of the cluster with --site-path. "),
    ],
)
async def test_only_what_fits_is_said_beside_the_gateway_s_words(
    tmp_path: Path, status: int, code: str, tail: str
) -> None:
    troubled = GatewayThatBreaksOff(refusal=(status, "No.", code))
    async with serving(troubled) as url:
        said = await Person(folder=tmp_path, base_url=url, token="good").batch("list")
    assert said.status == 5
    assert said.err == f"No. {tail}({f'{status} {code}'.rstrip()})\n"


async def test_a_field_that_every_gateway_reserves_is_told_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    salted = line(1).replace('"messages"', '"cache_salt": "mine", "messages"')
    write_input(tmp_path / "in.jsonl", [salted])
    troubled = GatewayThatBreaksOff()
    async with serving(troubled) as url:
        person = Person(folder=tmp_path, base_url=url, token="good")
        said = await person.batch("submit", "in.jsonl")
    assert said.status == 3
    assert "body.cache_salt" in said.out
    assert troubled.took("POST", "files") == 0


async def test_a_refused_batch_leaves_no_file(source: Path, tmp_path: Path) -> None:
    troubled = GatewayThatBreaksOff()
    rest = write_input(tmp_path / "x.jsonl", [line(1).replace('"tiny"', '"forbidden"')])
    async with serving(troubled) as url:
        person = Person(folder=tmp_path, base_url=url, token="good")
        said = await person.batch("submit", rest, "--model", "forbidden")
    assert said.status == 5
    assert "You may not use this model." in said.err
    assert troubled.files == {}
