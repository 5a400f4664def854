"""The table of requirement rows whose tests passed: recorded by a test run, printed on demand."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / ".hotnode" / "rows.json"
#: What each row is.
TABLE = ROOT / "docs" / "developers" / "requirements.md"
_LINE = re.compile(r"^\| ([AULC]-\d+) \| (.*) \|$", re.MULTILINE)
#: Of a row's text, so much fits beside the result (characters).
SHOWN = 70


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
        for row in {str(row) for name, row in report.user_properties if name == "row"}:
            self._outcomes[row][report.nodeid] = report.passed

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the record of this run, in the process that saw all reports."""
        if not hasattr(session.config, "workerinput"):
            ended = exitstatus in (0, 1)
            whole, rows = ended and _asks_for_all(session.config), self._outcomes
            again = session.config.getoption("lf", default=False)
            if ended and again and (before := _recorded()).get("whole"):
                # What failed in a whole run was tried again; of all else that run still speaks.
                whole = True
                rows = {
                    row: before["rows"].get(row, {}) | self._outcomes.get(row, {})
                    for row in before["rows"] | self._outcomes
                }
            record = {"whole": whole, "rows": rows}
            RECORD.parent.mkdir(parents=True, exist_ok=True)
            RECORD.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _asks_for_all(config: pytest.Config) -> bool:
    """Tell whether nothing on the command line chooses among the tests."""
    chosen = config.args_source is pytest.Config.ArgsSource.ARGS
    selects = ("keyword", "markexpr", "deselect", "lf", "maxfail", "ignore", "ignore_glob")
    return not chosen and not any(config.getoption(name, None) for name in selects)


def _recorded() -> dict:
    """Return the last record; empty if there is none."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def read_table() -> dict[str, str]:
    """Return what each row is, in the order of the page."""
    return dict(_LINE.findall(TABLE.read_text(encoding="utf-8")))


def main() -> int:
    """Print one line per row; return 1 if any row's tests did not all pass."""
    record = _recorded()
    if "rows" not in record:
        print("no test run is recorded; run ./hotnode test first", file=sys.stderr)  # noqa: T201
        return 1
    outcomes, table = record["rows"], read_table()
    for row in sorted(outcomes, key=lambda name: (name[0], int(name.partition("-")[2]))):
        tests = outcomes[row]
        word = "passed" if all(tests.values()) else "FAILED"
        counts = f"{sum(tests.values())}/{len(tests)} tests"
        print(f"{row:6} {word:7} {counts:13} {table.get(row, '')[:SHOWN]}")  # noqa: T201
    covered = sum(all(tests.values()) for tests in outcomes.values())
    print(f"{covered} of {len(outcomes)} rows passed; there are {len(table)} rows")  # noqa: T201
    if not record["whole"]:
        print("This was a run of a part of the tests. ./hotnode test runs all of them.")  # noqa: T201
    return 0 if covered == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
