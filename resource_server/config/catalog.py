"""Where operators describe what is on offer."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field


class CatalogSettings(BaseModel):
    """The operators' files."""

    catalog_dir: Path = Field(
        Path("endpoint_configs"),
        description="Directory with `sites/*.yaml`, `models/*.yaml` and `limits.yaml`.",
    )
    catalog_poll_s: float = Field(
        2.0, gt=0, description="Seconds between two looks at the catalog's files and version."
    )
