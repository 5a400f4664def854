"""What a hub remembers of whom it told of models, also when its disk does not do its part."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from resource_server.adapters.told_sites import ToldSites


async def test_another_process_knows_what_was_saved_last(tmp_path: Path) -> None:
    file = tmp_path / "state" / "told.json"
    assert await ToldSites(file).load() == frozenset()
    await ToldSites(file).save({"b", "a"})
    await ToldSites(file).save({"a"})
    assert await ToldSites(file).load() == {"a"}
    assert [one.name for one in file.parent.iterdir()] == ["told.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}"])
async def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "told.json"
    file.write_bytes(content)
    assert await ToldSites(file).load() == frozenset()


async def test_a_disk_that_fails_is_told_of_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with capture_logs() as events:
        await ToldSites(tmp_path / "file" / "told.json").save({"a"})
    assert [event["event"] for event in events] == ["told_sites_not_saved"]
