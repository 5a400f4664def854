"""The page that people in trouble read, held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resource_server.documentation import PAGES

PAGE = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()


@pytest.mark.parametrize(
    ("symptom", "remedy"),
    [
        pytest.param("client's own timeout", "/jobs", marks=pytest.mark.row("C-67")),
        pytest.param("403 `permission_denied`", "membership", marks=pytest.mark.row("C-68")),
        pytest.param("a batch is refused", "project's space", marks=pytest.mark.row("C-69")),
        pytest.param("IdentityMismatchError", "log-in.md", marks=pytest.mark.row("C-70")),
        pytest.param("at a loss", "Contact", marks=pytest.mark.row("C-71")),
    ],
)
def test_what_alcf_s_users_run_into_is_on_the_page(symptom: str, remedy: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("|") and symptom in line]
    assert remedy in row


def test_every_code_on_the_page_is_one_that_callers_get() -> None:
    codes = set(re.findall(r"^\| \d{3} `(\w+)`", PAGE, re.MULTILINE))
    known = set(re.findall(r"\| `(\w+)` \| `", PAGES["errors"]()))
    assert len(codes) > 10
    assert codes <= known
