"""Check a site's file, and say which of its models can run.

    python -m compute_functions.site_config FILE [--ask-scheduler]

Exit status: 0 all is well, 1 the site refuses some models, or some cannot start: an engine is not
installed, or the scheduler has no such partition; or a file is wrong that says who may use which
files for batches; 2 the file is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path

from compute_functions.batch_access import findings
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory
from compute_functions.site_config import engine_programs, scheduler_check
from compute_functions.site_config.site_file import NAME, SiteConfig, load, load_file
from compute_functions.site_config.site_models import SiteModels


def main(
    arguments: Sequence[str] | None = None, *, environment: Mapping[str, str] | None = None
) -> int:
    """Run the command and return its exit status."""
    parser = ArgumentParser(
        prog="python -m compute_functions.site_config",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="a site.yaml")
    parser.add_argument(
        "--ask-scheduler",
        action="store_true",
        help="ask sinfo for the partitions and features that the file names",
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        config = _loaded(given.file)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    ours = os.environ if environment is None else environment
    is_well = _engines_are_there(config, ours) & _batches_have_access(config)
    if given.ask_scheduler:
        is_well = _scheduler_has_it(config, ours) and is_well
    return 0 if _models_can_run(config) and is_well else 1


def _engines_are_there(config: SiteConfig, environment: Mapping[str, str]) -> bool:
    found = list(engine_programs.findings(config.models, environment))
    for one in found:
        sys.stderr.write(f"{one.engine}: {one.said}\n")
    return not any(one.fatal for one in found)


def _batches_have_access(config: SiteConfig) -> bool:
    found = list(findings.problems(config.batches)) if config.batches else []
    sys.stderr.writelines(f"batches: {problem}\n" for problem in found)
    return not found


def _scheduler_has_it(config: SiteConfig, environment: Mapping[str, str]) -> bool:
    found = asyncio.run(scheduler_check.problems(config, environment))
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return not found


def _models_can_run(config: SiteConfig) -> bool:
    """Say which models can run, and why others cannot."""
    models = SiteModels(config)
    models.refresh()
    if not any(any(folder.glob("*.yaml")) for folder in config.models.model_files):
        folders = ", ".join(map(str, config.models.model_files))
        sys.stderr.write(f"there is no model's file (*.yaml) in {folders}\n")
    for model, refusal in models.refused.items():
        sys.stderr.write(f"{model}: {refusal.reason}\n")
    for model in models.batches_in_vain:
        # No mistake: other sites may have the same file.
        said = "batch: placement: own does nothing here: the site's file has no section batches"
        sys.stderr.write(f"{model}: {said}\n")
    for model, frameworks in models.usable.items():
        sys.stdout.write(f"{model} ({', '.join(frameworks)})\n")
    return not models.refused


def _loaded(file: Path) -> SiteConfig:
    """Read a file; where it is a site's own, its directory is looked at as well."""
    return load(SiteDirectory(file.parent)) if file.name == NAME else load_file(file)


if __name__ == "__main__":
    sys.exit(main())
