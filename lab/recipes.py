"""Which engines the lab installs, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.infinity.recipe import RECIPE as INFINITY
from lab.installing.recipe import Recipe
from lab.vllm_cpu.recipe import RECIPE as VLLM_CPU

#: Where engines are installed unless a caller says otherwise.
ENGINES = Path(__file__).parents[1] / ".hotnode" / "engines"
#: In the order in which the demo installs them, by the engine files that start what they install.
RECIPES: Mapping[str, Recipe] = {"vllm-cpu": VLLM_CPU, "infinity": INFINITY}
