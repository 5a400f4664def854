"""Copies of weights on the node's own disk: made, shared, gone on with, removed."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from compute_functions import local_weights
from compute_functions.errors import ConfigurationError, EngineFailed
from compute_functions.local_weights import LocalWeights


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "parts" / "1.safetensors").write_bytes(b"x" * 100_000)
    # As a cache of downloads has it.
    (folder / "tokenizer.json").symlink_to(folder.parent / "blob")
    (folder.parent / "blob").write_text("tokens")
    return folder


class Told:
    """Hears what is told of a copy."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def __call__(self, *, detail: str) -> None:
        self.details.append(detail)


async def never() -> str:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def copied(
    source: Path, root: Path, *, keep: bool = False, told: Told | None = None
) -> AsyncIterator[Path]:
    weights = LocalWeights(source, root, keep=keep, within_s=30)
    async with weights.at_hand(told or Told(), never) as path:
        assert path is not None
        yield path


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


async def test_a_copy_is_whole_and_goes_with_its_instance(source: Path, tmp_path: Path) -> None:
    told = Told()
    async with copied(source, tmp_path / "local", told=told) as path:
        assert path.is_relative_to(tmp_path / "local")
        assert content(path) == content(source)
        assert not any(one.is_symlink() for one in path.rglob("*"))
        parent = path.parent
        assert parent.stat().st_mode & 0o777 == 0o700

    assert told.details[0] == "weights: 0.0 of 0.0 GB copied to the node"
    assert [one for one in parent.iterdir() if one.is_dir()] == []
    assert content(source)["config.json"] == b"{}"


async def test_a_copy_that_is_kept_is_used_again(source: Path, tmp_path: Path) -> None:
    async with copied(source, tmp_path, keep=True) as path:
        before = (path / "config.json").stat().st_ino
    async with copied(source, tmp_path, keep=True) as path:
        assert (path / "config.json").stat().st_ino == before


async def test_only_what_changed_is_copied_again(source: Path, tmp_path: Path) -> None:
    async with copied(source, tmp_path, keep=True) as path:
        same = (path / "parts" / "1.safetensors").stat().st_ino
        (path / "half.safetensors.part").write_text("of a copy that was broken off")
        (path / "config.json").write_text("torn")
    os.utime(source / "tokenizer.json", (1, 1))

    async with copied(source, tmp_path) as path:
        assert content(path) == content(source)
        assert (path / "parts" / "1.safetensors").stat().st_ino == same


async def test_instances_of_a_node_share_one_copy(source: Path, tmp_path: Path) -> None:
    async with AsyncExitStack() as last:
        async with copied(source, tmp_path) as first:
            async with asyncio.timeout(20):
                second = await last.enter_async_context(copied(source, tmp_path))
            assert second == first
        assert content(second) == content(source), "the first to end removed it"
    assert not second.exists()


async def test_two_that_begin_at_once_copy_once(source: Path, tmp_path: Path) -> None:
    both = asyncio.Barrier(2)

    async def one() -> int:
        async with copied(source, tmp_path) as path:
            async with asyncio.timeout(20):
                await both.wait()
            return (path / "config.json").stat().st_ino

    first, second = await asyncio.gather(one(), one())
    assert first == second


async def test_models_whose_names_differ_behind_a_dot_do_not_wait_for_each_other(
    source: Path, tmp_path: Path
) -> None:
    first, second = source.with_name("Llama-3.1-8B"), source.with_name("Llama-3.3-70B")
    shutil.copytree(source, first)
    shutil.copytree(source, second)
    async with copied(first, tmp_path) as one, asyncio.timeout(20), copied(second, tmp_path) as two:
        assert one != two


async def test_a_disk_of_the_node_that_takes_no_folder_fails_the_instance(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EngineFailed, match="the weights were not copied: Not a directory"):
        async with copied(source, tmp_path / "file"):
            raise AssertionError


async def test_without_room_the_weights_stay_where_they_are(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local_weights, "SPARE", 10**18)
    async with copied(source, tmp_path) as path:
        assert path == source
        # Another one does not wait for a lock that is held for nothing.
        async with asyncio.timeout(20), copied(source, tmp_path) as other:
            assert other == source
    assert "weights_not_copied" in caplog.text
    assert content(source)


async def test_an_end_that_is_asked_for_meanwhile_is_not_waited_out(
    source: Path, tmp_path: Path
) -> None:
    async def asked() -> str:
        return "told to"

    weights = LocalWeights(source, tmp_path, keep=False, within_s=30)
    async with weights.at_hand(Told(), asked) as path:
        assert path is None


async def test_a_link_to_a_folder_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "more").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="is a link to a folder"):
        async with copied(source, tmp_path / "local"):
            raise AssertionError


async def test_weights_that_cannot_be_read_fail_the_instance(source: Path, tmp_path: Path) -> None:
    (source / "lost").symlink_to(source / "nowhere")
    with pytest.raises(EngineFailed, match="the weights were not copied"):
        async with copied(source, tmp_path / "local"):
            raise AssertionError


async def test_a_copy_that_takes_too_long_fails_the_instance(source: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="no copy of the weights within 0 s"):
        async with LocalWeights(source, tmp_path, keep=False, within_s=0).at_hand(Told(), never):
            raise AssertionError


async def test_a_folder_that_others_can_enter_is_not_trusted(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"hotnode-weights-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="not a folder that is only ours"):
        async with copied(source, tmp_path):
            raise AssertionError
