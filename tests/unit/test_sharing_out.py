from __future__ import annotations

from pathlib import Path

from tests.support.sharing_out import DEAR_S, ENGINES, seconds

ROOT = Path(__file__).parents[2]


def test_what_is_known_to_be_dear_is_there():
    paths = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]
    gone = [known for known in DEAR_S if not any(path.startswith(known) for path in paths)]
    assert gone == []


def test_engines_come_first_and_few_dear_tests_before_many_that_cost_nothing():
    dear = seconds("tests/integration/lifecycle/test_lifecycle.py", 15)
    cheap = seconds("tests/unit/domain/test_report.py", 200)
    assert seconds(ENGINES, 1) > dear > cheap


def test_a_file_is_as_dear_as_the_closest_that_is_known_says():
    folder, file = (
        "tests/integration/batch_site/",
        "tests/integration/batch_site/test_all_parts_die.py",
    )
    assert seconds(file, 1) == DEAR_S[file] > DEAR_S[folder]
