"""The rules of a batch as options of a command."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from batch.commands import numbers
from batch.rules import ENDPOINTS, Rules


def add_to(parser: ArgumentParser) -> None:
    """Let a command take what `rules` reads."""
    plain = Rules()
    parser.add_argument("--model", help="the model that all lines must name; else the first's")
    parser.add_argument(
        "--endpoint",
        choices=sorted(ENDPOINTS),
        help="the path that all lines must name; else the first's",
    )
    parser.add_argument(
        "--allow-endpoint",
        choices=sorted(ENDPOINTS),
        action="append",
        default=[],
        help="a path that lines may name; may be given again; all of these if left out",
    )
    parser.add_argument(
        "--reserved",
        action="append",
        default=[],
        metavar="FIELD",
        help="a field that no line's body may have; may be given again",
    )
    parser.add_argument(
        "--remote-images",
        action="store_true",
        help="lines may name images by address, which the engine opens by itself",
    )
    for name, value, what in (
        ("lines", plain.most_lines, "the most lines"),
        ("bytes", plain.most_bytes, "the largest file"),
        ("line-bytes", plain.most_line_bytes, "the longest line (bytes)"),
    ):
        parser.add_argument(
            f"--most-{name}",
            type=numbers.count,
            default=value,
            metavar="N",
            help=f"{what} ({value})",
        )
    parser.add_argument(
        "--most-inputs",
        type=numbers.count,
        metavar="N",
        help=f"the most embedding inputs in all lines (as many as lines, {plain.inputs} at least)",
    )


def rules(given: Namespace) -> Rules:
    """Return the rules that a command was given."""
    return Rules(
        endpoints=frozenset(given.allow_endpoint) or ENDPOINTS,
        model=given.model,
        endpoint=given.endpoint,
        most_lines=given.most_lines,
        most_bytes=given.most_bytes,
        most_line_bytes=given.most_line_bytes,
        most_inputs=given.most_inputs,
        reserved=frozenset(given.reserved),
        remote_images=given.remote_images,
    )
