"""What the environment of infinity-emb is made of."""

from __future__ import annotations

from pathlib import Path

from lab.infinity import weights
from lab.installing.recipe import REQUIREMENTS, Recipe

INFINITY = "0.0.78"

RECIPE = Recipe(
    title=f"infinity-emb {INFINITY}",
    lock=REQUIREMENTS / "engine-infinity.txt",
    packages_size="0.6 GB on disk",
    finish=weights.link,
    finishing="a name for the weights of all-MiniLM-L6-v2",
    finish_sources=(Path(weights.__file__),),
    proof=(
        "import infinity_emb.infinity_server, sentence_transformers, uvloop; "
        "from infinity_emb._optional_imports import CHECK_TYPER as c; c.mark_required(); "
        "import infinity_emb.fastapi_schemas.pymodels, infinity_emb.transformer.embedder."
        "sentence_transformer, infinity_emb.transformer.crossencoder.torch, "
        "infinity_emb.transformer.classifier.torch"
    ),
    # Measured; pip unpacks its largest wheels beside the environment.
    disk_gb=3.0,
    installed_gb=1.4,
)
