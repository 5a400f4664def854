"""A program in an engine's place that says yes to everything: `... --uds SOCKET ...`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from aiohttp import web


def install(program: Path) -> None:
    """Make this the program of that name."""
    program.parent.mkdir(parents=True)
    command = shlex.join([sys.executable, __file__])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)


async def yes(_request: web.Request) -> web.Response:
    """Answer 200."""
    return web.json_response({})


if __name__ == "__main__":
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", yes)
    web.run_app(application, path=sys.argv[sys.argv.index("--uds") + 1])
