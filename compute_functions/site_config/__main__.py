"""Check a site's file, and say which of its models can run.

    python -m compute_functions.site_config FILE

Exit status: 0 all is well, 1 the site refuses some models, 2 the file is wrong.
"""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory
from compute_functions.site_config.site_file import NAME, SiteConfig, load, load_file
from compute_functions.site_config.site_models import SiteModels


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = ArgumentParser(prog="python -m compute_functions.site_config", description=__doc__)
    parser.add_argument("file", type=Path, help="a site.yaml")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        models = SiteModels(_loaded(given.file))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    models.refresh()
    for model, refusal in models.refused.items():
        sys.stderr.write(f"{model}: {refusal.reason}\n")
    for model, frameworks in models.usable.items():
        sys.stdout.write(f"{model} ({', '.join(frameworks)})\n")
    return 1 if models.refused else 0


def _loaded(file: Path) -> SiteConfig:
    """Read a file; where it is a site's own, its directory is looked at as well."""
    return load(SiteDirectory(file.parent)) if file.name == NAME else load_file(file)


if __name__ == "__main__":
    sys.exit(main())
