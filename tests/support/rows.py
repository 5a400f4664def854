"""The table of requirement rows whose tests passed: recorded by a test run, printed on demand."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest

RECORD = Path(__file__).parents[2] / ".hotnode" / "rows.json"


class RowRecorder:
    """A pytest plugin that writes down which rows were covered by passing tests.

    Reports carry the rows, since with several test processes only they reach the one that writes.
    """

    def __init__(self) -> None:
        self._outcomes: dict[str, dict[str, bool]] = defaultdict(dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        """Attach a test's rows to each of its reports."""
        report = yield
        for mark in item.iter_markers("row"):
            report.user_properties += [("row", row) for row in mark.args]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome: a test passed if its call passed and no phase failed."""
        if report.when != "call" and report.passed:
            return
        for row in {row for name, row in report.user_properties if name == "row"}:
            self._outcomes[row][report.nodeid] = report.passed

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the record of this run, in the process that saw all reports."""
        if not hasattr(session.config, "workerinput"):
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
