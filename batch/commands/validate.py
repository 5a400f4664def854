"""`validate IN`: check an input file as a gateway does, and send nothing.

Body fields that every gateway sets itself are mistakes; `run` takes them, for an engine of one's
own.

Exit status: 0 the file is good, 2 wrong arguments, 3 it is refused, 6 the file system failed.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter, _SubParsersAction
from dataclasses import replace
from pathlib import Path

from batch.commands import output, rule_options
from batch.commands.printable import printable
from batch.errors import InputRefused, InputUnreadable
from batch.input_file import InputFile
from batch.line_error import LineError
from batch.rules import RESERVED_BY_GATEWAYS, Rules
from batch.validation import Validated, validate

GOOD = 0
REFUSED = 3
DISK = 6


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add this command to the others."""
    parser = commands.add_parser(
        "validate",
        help="check an input file",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, metavar="IN", help="a JSONL file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    rule_options.add_to(parser)
    parser.set_defaults(run=run)


def run(given: Namespace) -> int:
    """Check the file, print what was found, and return the exit status."""
    rules = rule_options.rules(given)
    try:
        found = _found(given.input, replace(rules, reserved=rules.reserved | RESERVED_BY_GATEWAYS))
    except InputUnreadable as error:
        output.write(sys.stderr, f"{printable(str(given.input))}: {error}\n")
        return DISK
    output.write(sys.stdout, _as_json(found) if given.json else as_text(given.input, found))
    return REFUSED if found.error_count else GOOD


def _found(path: Path, rules: Rules) -> Validated:
    try:
        with InputFile.open(path) as file:
            return validate(file, rules)
    except InputRefused as refused:
        return Validated.refused(refused.error)


def _as_json(found: Validated) -> str:
    return json.dumps(found.to_wire(), indent=2) + "\n"


def as_text(path: Path | str, found: Validated) -> str:
    """Return what was found in a file, or the table of its mistakes."""
    name = printable(str(path))
    if not found.error_count:
        inputs = f", {found.inputs:,} inputs" if found.inputs else ""
        return (
            f"{name}: good\n"
            f"  lines     {found.total:,}{inputs}\n"
            f"  model     {printable(str(found.model))}\n"
            f"  endpoint  {found.endpoint}\n"
            f"  bytes     {found.bytes:,}\n"
            f"  sha256    {found.sha256}\n"
        )
    mistakes = "1 mistake" if found.error_count == 1 else f"{found.error_count:,} mistakes"
    rows = [("line", "code", "field", "what is wrong"), *map(_row, found.errors)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = "".join(
        f"  {line:>{widths[0]}}  {code:<{widths[1]}}  {param:<{widths[2]}}  {message}\n"
        for line, code, param, message in rows
    )
    unlisted = found.error_count - len(found.errors)
    return f"{name}: refused, {mistakes}\n{table}" + (f"  and {unlisted:,} more\n" * (unlisted > 0))


def _row(error: LineError) -> tuple[str, str, str, str]:
    line = "" if error.line is None else f"{error.line:,}"
    return line, error.code, error.param or "", printable(error.message)
