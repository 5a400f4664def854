"""Lets torchvision's CUDA build be imported beside a CPU build of torch.

vLLM's image models import torchvision. The build that package registries carry registers its
operators from a CUDA library; without a GPU that library does not load, and the import fails
because `torchvision::nms` was never declared. This module declares the two operators just before
torchvision is imported. Calling them still fails; nothing that is served here calls them.

The installer copies this file into the engine's environment, where a `.pth` file imports it at
start. It must therefore stay cheap and import nothing but the standard library.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclareOperators:
    """An import finder that finds nothing; it acts once, on the first import of torchvision."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Declare the operators when torchvision is asked for, and leave the finding to others."""
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare()


def _declare() -> None:
    # Two seconds that only a user of torchvision should pay; this environment has no torch.
    import torch  # type: ignore[import-not-found]  # noqa: PLC0415

    if torch.version.cuda is not None:
        return
    for operator in OPERATORS:
        torch.library.define(f"torchvision::{operator}", SIGNATURE)


def install() -> None:
    """Put the finder before all others, once; the `.pth` file calls this.

    Python reads the `.pth` files of a virtual environment twice at each start.
    """
    if not any(isinstance(finder, DeclareOperators) for finder in sys.meta_path):
        sys.meta_path.insert(0, DeclareOperators())
