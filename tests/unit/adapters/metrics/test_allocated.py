from __future__ import annotations

from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from structlog.testing import capture_logs

from resource_server.adapters.metrics.allocated import FIRST_SIZE, AllocatedDict


def holes(file: Path) -> int:
    """Return how many bytes of a file have no place on the disk."""
    found = file.stat()
    return found.st_size - found.st_blocks * 512


def test_no_byte_of_a_file_is_without_its_place(tmp_path):
    file = tmp_path / "counter_a-1.db"
    values = AllocatedDict(str(file))
    assert (file.stat().st_size, holes(file)) == (FIRST_SIZE, 0)
    keys = [f"{n:>200}" for n in range(1000)]
    for n, key in enumerate(keys):
        values.write_value(key, n, 0.0)
        assert holes(file) <= 0
    values.close()
    assert file.stat().st_size > FIRST_SIZE
    found = MmapedDict.read_all_values_from_file(str(file))
    assert [(key.strip(), value) for key, value, _, _ in found] == [
        (str(n), float(n)) for n in range(1000)
    ]


def test_without_room_for_the_file_a_process_counts_by_itself(tmp_path):
    with capture_logs() as logs:
        values = AllocatedDict(str(tmp_path / "gone" / "counter_a-1.db"))
    assert [entry["event"] for entry in logs] == ["metrics_not_shared"]
    keys = [f"{n:>200}" for n in range(1000)]
    for key in keys:
        values.write_value(key, 2.0, 0.0)
    assert {values.read_value(key) for key in keys} == {(2.0, 0.0)}
    values.close()
