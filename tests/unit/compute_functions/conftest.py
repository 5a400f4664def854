"""A site's directory, as the endpoint's environment would name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compute_functions.site import VARIABLE, SiteDirectory


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteDirectory:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "site"))
    return SiteDirectory(tmp_path / "site")
