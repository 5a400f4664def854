"""The gateway's command: `serve`, `migrate`, `check-catalog`, `settings`."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvicorn
from django.core.management import call_command
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import override

from resource_server.adapters import catalog_files, log
from resource_server.config import SettingInvalid, Settings, read_client
from resource_server.domain.errors import CatalogInvalid
from resource_server.startup import (
    StandInRefused,
    configure_django,
    refuse_stand_in,
    refuse_unknown_settings,
    spare_the_collector,
)

#: How long requests under way may take to finish when the server is told to stop (seconds).
GRACE_S = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ValidationError as problem:
        say = "\n".join(_setting_problem(detail) for detail in problem.errors(include_url=False))
        print(say, file=sys.stderr)  # noqa: T201 - the command's answer
    except (CatalogInvalid, StandInRefused, SettingInvalid) as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - the command's answer
    return 2


def _setting_problem(detail: ErrorDetails) -> str:
    """Return what is wrong with a setting, under the name by which an operator sets it."""
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    return f"HOTNODE_{str(detail['loc'][0]).upper()}: {message}"


def serve(options: argparse.Namespace) -> int:
    """Migrate the database and serve until told to stop."""
    settings = _settings(options)
    refuse_stand_in(settings, os.environ)
    log.configure(settings.log_format)
    # What is wrong with the operators' files is said before anything is opened.
    read_client(settings.globus_client_file)
    catalog_files.read(settings.catalog_dir)
    configure_django(settings)
    call_command("migrate", interactive=False, verbosity=0)
    from resource_server.asgi import FrontDoor  # noqa: PLC0415 - needs a configured Django
    from resource_server.container import open_gateway  # noqa: PLC0415 - likewise

    config = uvicorn.Config(
        FrontDoor(partial(open_gateway, settings), max_body_bytes=settings.max_body_bytes),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = AnnouncedServer(config, settings.state_dir / "gateway.json")
    server.run()
    return 0 if server.started else 1


class AnnouncedServer(uvicorn.Server):
    """A server that writes its address and process id to a file while it accepts requests.

    With port 0 the file is the only place where the port stands.
    """

    def __init__(self, config: uvicorn.Config, announcement: Path) -> None:
        super().__init__(config)
        self._announcement = announcement

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        spare_the_collector()
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        content = json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()})
        draft = self._announcement.with_suffix(".tmp")
        draft.write_text(content, encoding="utf-8")
        draft.replace(self._announcement)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._announcement.unlink(missing_ok=True)
        await super().shutdown(sockets)


def migrate(options: argparse.Namespace) -> int:
    """Bring the database's tables up to date."""
    configure_django(_settings(options))
    call_command("migrate", interactive=False)
    return 0


def check_catalog(options: argparse.Namespace) -> int:
    """Say what is wrong with the catalog's files, if anything."""
    documents = catalog_files.read(options.directory)
    print(f"{len(documents.sites)} clusters, {len(documents.models)} models: no mistakes")  # noqa: T201 - the command's answer
    return 0


def settings_page(options: argparse.Namespace) -> int:
    """Print the page of all settings."""
    print(render_settings(), end="")  # noqa: T201 - the command's answer
    return 0


def render_settings() -> str:
    """Return the page of all settings, in Markdown."""
    lines = [
        "# Settings of the gateway",
        "",
        "Made by `./hotnode settings`. Each setting is an environment variable.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default())
        lines.append(f"| `HOTNODE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    """Return a default as an operator would write it."""
    if isinstance(default, tuple):
        default = ",".join(default)
    return "" if default in (None, "") else f"`{default}`"


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the environment, with those of the command line before them."""
    refuse_unknown_settings(os.environ)
    given = {
        name: value
        for name in ("host", "port", "catalog_dir", "local_globus")
        if (value := getattr(options, name, None)) is not None
    }
    return Settings(**given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hotnode", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve", help=serve.__doc__)
    command.add_argument("--host")
    command.add_argument("--port", type=int)
    command.add_argument("--catalog-dir", type=Path)
    command.add_argument(
        "--local-globus",
        action="store_true",
        default=None,
        help="accept a stand-in for Globus: for development alone",
    )
    command.set_defaults(run=serve)
    commands.add_parser("migrate", help=migrate.__doc__).set_defaults(run=migrate)
    commands.add_parser("settings", help=settings_page.__doc__).set_defaults(run=settings_page)
    command = commands.add_parser("check-catalog", help=check_catalog.__doc__)
    command.add_argument("directory", type=Path, nargs="?", default=Path("endpoint_configs"))
    command.set_defaults(run=check_catalog)
    return parser


if __name__ == "__main__":
    sys.exit(main())
