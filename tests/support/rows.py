"""The table of requirement rows whose tests passed: recorded by a test run, printed on demand."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest

RECORD = Path(__file__).parents[2] / ".hotnode" / "rows.json"


class RowRecorder:
    """A pytest plugin that writes down which rows were covered by passing tests."""

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[str, bool]] = defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        """Note the outcome of every phase: a test whose set-up failed did not pass."""
        report = yield
        for row in (row for mark in item.iter_markers("row") for row in mark.args):
            seen = self._outcomes[row].get(item.nodeid, True)
            if report.when == "call" or report.failed:
                self._outcomes[row][item.nodeid] = seen and report.passed
            elif report.skipped:
                self._outcomes[row][item.nodeid] = False
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the record of this run."""
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(json.dumps(self._outcomes, indent=1), encoding="utf-8")


def main() -> int:
    """Print one line per row; return 1 if any row's tests did not all pass."""
    if not RECORD.exists():
        print("no test run is recorded; run ./hotnode test first", file=sys.stderr)  # noqa: T201
        return 1
    outcomes = json.loads(RECORD.read_text(encoding="utf-8"))
    for row in sorted(outcomes, key=lambda name: (name[0], int(name.partition("-")[2]))):
        tests = outcomes[row]
        word = "passed" if all(tests.values()) else "FAILED"
        print(f"{row:6} {word:7} {sum(tests.values())}/{len(tests)} tests")  # noqa: T201
    covered = sum(all(tests.values()) for tests in outcomes.values())
    print(f"{covered} of {len(outcomes)} rows passed")  # noqa: T201
    return 0 if covered == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
