from __future__ import annotations

import re
from pathlib import Path

import pytest

from resource_server.documentation import OPERATORS_OWN, PAGES
from resource_server.domain.errors import HotnodeError

ROOT = Path(__file__).parents[3]
FILES = {
    "settings": "docs/operators/settings.md",
    "errors": "docs/users/errors.md",
    "routes": "docs/developers/routes.md",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name):
    page = ROOT / FILES[name]
    assert page.read_text() == PAGES[name](), f"run: ./hotnode {name} > {FILES[name]}"


def below(*kinds: type[HotnodeError]) -> list[type[HotnodeError]]:
    return [*kinds, *(found for kind in kinds for found in below(*kind.__subclasses__()))]


def test_every_error_that_the_code_names_is_on_the_page():
    codes = {
        code
        for path in (ROOT / "resource_server").rglob("*.py")
        for code in re.findall(r'^    code = "(\w+)"', path.read_text(), re.MULTILINE)
    }
    hidden = {"error"} | {kind.code for kind in below(*OPERATORS_OWN)}
    shown = set(re.findall(r"\| `(\w+)` \| `", PAGES["errors"]()))
    assert codes - hidden <= shown
    assert len(shown) > 20
