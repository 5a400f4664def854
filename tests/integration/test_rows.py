from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support import rows

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.fixture
def broken_afterwards():
    yield
    raise RuntimeError

@pytest.mark.row("C-1")
def test_good(): pass

@pytest.mark.row("C-1")
@pytest.mark.row("C-2")
def test_bad(): assert False

@pytest.mark.row("C-3")
@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.row("C-4")
def test_broken_at_its_end(broken_afterwards): pass
"""


@pytest.mark.parametrize(
    ("options", "whole"),
    [((), True), (("-n", "2"), True), (("-k", "test"), False), ((".",), False)],
)
def test_a_row_counts_when_its_tests_passed(
    pytester: pytest.Pytester, tmp_path: Path, options: tuple[str, ...], *, whole: bool
):
    record = tmp_path / "rows.json"
    pytester.makeini("[pytest]\nmarkers = row(id): a row")
    pytester.makeconftest(
        f"""
        import importlib.util, pathlib
        spec = importlib.util.spec_from_file_location("rows", {rows.__file__!r})
        rows = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(rows)
        rows.RECORD = pathlib.Path({str(record)!r})

        def pytest_configure(config):
            config.pluginmanager.register(rows.RowRecorder())
        """
    )
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess("-p", "no:randomly", *options)
    written = json.loads(record.read_text())
    assert written["whole"] is whole
    found = {
        row: {name.rpartition("::")[2]: passed for name, passed in tests.items()}
        for row, tests in written["rows"].items()
    }
    assert found == {
        "C-1": {"test_good": True, "test_bad": False},
        "C-2": {"test_bad": False},
        "C-3": {"test_skipped": False},
        "C-4": {"test_broken_at_its_end": False},
    }


def test_every_row_that_a_test_names_is_explained():
    table = rows.read_table()
    marks = re.compile(r"mark\.row\(([^)]*)\)")
    files = (Path(__file__).parents[1]).rglob("test_*.py")
    named = {
        row
        for file in files
        if file != Path(__file__)
        for said in marks.findall(file.read_text())
        for row in re.findall(r'"([A-Z]+-\d+)"', said)
    }
    assert named
    assert sorted(named - table.keys()) == []
    assert len(table) == 199
