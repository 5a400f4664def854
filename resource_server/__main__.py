"""The gateway's command: `serve`, `migrate`, `check-catalog`, and pages of the documentation."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from resource_server import documentation, model_command, supervisor
from resource_server.adapters import (
    catalog_check,
    catalog_files,
    limits_file,
    log,
    mistakes,
    secret_files,
    state_lock,
)
from resource_server.adapters.hub import HubSocketTaken
from resource_server.config import Role, SettingInvalid, Settings, read_client
from resource_server.domain.errors import OperatorError
from resource_server.startup import (
    StandInRefused,
    configure_django,
    end_with,
    raise_limit_of_files,
    refuse_stand_in,
    refuse_unfit_role,
    refuse_unknown_settings,
)

ALL_SETTINGS = "docs/operators/settings.md explains all settings; ./hotnode settings prints it."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ValidationError as problem:
        print(_setting_problems(problem, _given(options)), ALL_SETTINGS, sep="\n", file=sys.stderr)  # noqa: T201 - the command's answer
    except SettingInvalid as problem:
        print(problem, ALL_SETTINGS, sep="\n", file=sys.stderr)  # noqa: T201 - the command's answer
    except (OperatorError, StandInRefused, HubSocketTaken) as problem:
        print(problem, file=sys.stderr)  # noqa: T201 - the command's answer
    return 2


def _setting_problems(problem: ValidationError, given: Mapping[str, object]) -> str:
    """Return everything that is wrong with the settings, a line each."""
    lines = [_setting_problem(detail, given) for detail in problem.errors(include_url=False)]
    keys = ("HOTNODE_SECRET_KEY", "HOTNODE_SECRET_KEY_FILE")
    # Settings that depend on each other are looked at when each by itself is right.
    if not any(os.environ.get(key) for key in keys) and not any(keys[0] in line for line in lines):
        lines.append(f"{keys[0]} or {keys[1]}: is missing")
    return "\n".join(lines)


def _setting_problem(detail: ErrorDetails, given: Mapping[str, object]) -> str:
    """Return what is wrong with a setting, under the name by which an operator set it."""
    message = mistakes.words(detail)
    if not detail["loc"]:
        return message
    name = str(detail["loc"][0])
    shown = f"--{name.replace('_', '-')}" if name in given else f"HOTNODE_{name.upper()}"
    return f"{shown}: {message}"


def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop: everything in one process, or one role of several."""
    if options.supervisor is not None:
        end_with(options.supervisor)
    settings = _settings(options)
    refuse_stand_in(settings, os.environ)
    role = Role(options.role)
    refuse_unfit_role(settings, Role.WEB if _is_supervisor(settings, role) else role)
    log.configure(settings.log_format)
    _check_files(settings, role)
    if options.supervisor is not None:
        # The supervisor holds the directory for all its processes.
        return _serve(options, settings, role)
    with state_lock.held(settings.state_dir, alone=role is Role.ALL):
        _warn_of_files(settings, role)
        return _serve(options, settings, role)


def _serve(options: argparse.Namespace, settings: Settings, role: Role) -> int:
    raise_limit_of_files()
    configure_django(settings, role)
    if role is not Role.HUB:
        _prepare_tables(settings, migrate=not options.no_migrate)
    if _is_supervisor(settings, role):
        return supervisor.run(settings, _passed_on(options), os.environ)
    from resource_server import server  # noqa: PLC0415 - needs a configured Django

    return server.run(settings, role, options.listener)


def _is_supervisor(settings: Settings, role: Role) -> bool:
    """Tell whether this process only starts others: several for the web are of one role each."""
    return role is Role.ALL and settings.workers > 1


def _check_files(settings: Settings, role: Role) -> None:
    """Say what is wrong with the operators' files before anything is opened."""
    if role in (Role.ALL, Role.WEB):
        read_client(settings.globus_client_file)
        limits_file.check(settings.catalog_dir)
    if role in (Role.ALL, Role.CONTROLLER):
        catalog_files.read(settings.catalog_dir)


def _warn_of_files(settings: Settings, role: Role) -> None:
    """Put into the log what does not keep the gateway from serving, and should be mended."""
    secret_files.warn_if_open(
        getattr(settings, name) for name in Settings.model_fields if name.endswith("_file")
    )
    if role is Role.ALL:
        catalog_check.log_unusable_clients(settings.catalog_dir, settings.globus_clients_dir)


def _prepare_tables(settings: Settings, *, migrate: bool) -> None:
    from resource_server.store import schema  # noqa: PLC0415 - needs a configured Django

    if migrate:
        schema.migrate(settings.state_dir)
    else:
        schema.require_up_to_date()


def _passed_on(options: argparse.Namespace) -> list[str]:
    """Return what the command line says beside the environment, for the supervisor's processes."""
    given = [f"--catalog-dir={options.catalog_dir}"] if options.catalog_dir else []
    return [*given, "--local-globus"] if options.local_globus else given


def migrate(options: argparse.Namespace) -> int:
    """Bring the database's tables up to date."""
    settings = _settings(options)
    configure_django(settings)
    from resource_server.store import schema  # noqa: PLC0415 - needs a configured Django

    schema.migrate(settings.state_dir, verbosity=1)
    return 0


def model(options: argparse.Namespace) -> int:
    """List models; load, unload, pin or disable single ones."""
    configure_django(_settings(options))
    names = ("model", "cluster", "instances", "as_json")
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    for line in model_command.run(options.wish, **given):
        print(line)  # noqa: T201 - the command's answer
    return 0


def raise_generation(options: argparse.Namespace) -> int:
    """Have sites take a restored database's desired states."""
    configure_django(_settings(options))
    print(model_command.raise_generation(options.to))  # noqa: T201 - the command's answer
    return 0


def check_catalog(options: argparse.Namespace) -> int:
    """Say what is wrong with the catalog's files, if anything."""
    # Without the other settings, which a laptop does not have.
    directory = options.directory or os.environ.get("HOTNODE_CATALOG_DIR") or "endpoint_configs"
    clients = options.clients_dir or os.environ.get("HOTNODE_GLOBUS_CLIENTS_DIR")
    found = catalog_check.check(Path(directory), Path(clients) if clients else None)
    print(found)  # noqa: T201 - the command's answer
    return 0


def page(options: argparse.Namespace) -> int:
    """Print a page of the documentation that is made from the code."""
    print(documentation.PAGES[options.page](), end="")  # noqa: T201 - the command's answer
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the environment, with those of the command line before them."""
    refuse_unknown_settings(os.environ)
    return Settings(**_given(options))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the command line says."""
    return {
        name: value
        for name in ("host", "port", "workers", "catalog_dir", "local_globus")
        if (value := getattr(options, name, None)) is not None
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hotnode", description=__doc__)
    commands = parser.add_subparsers(required=True)
    _describe_serve(commands.add_parser("serve", help=serve.__doc__))
    commands.add_parser("migrate", help=migrate.__doc__).set_defaults(run=migrate)
    _describe_model(commands.add_parser("model", help=model.__doc__))
    generation = commands.add_parser("raise-generation", help=raise_generation.__doc__)
    generation.add_argument("--to", type=int, help="this number; default: the next one")
    generation.set_defaults(run=raise_generation)
    for name in documentation.PAGES:
        command = commands.add_parser(name, help=f"Print the page of all {name}.")
        command.set_defaults(run=page, page=name)
    _describe_check_catalog(commands.add_parser("check-catalog", help=check_catalog.__doc__))
    return parser


def _describe_model(command: argparse.ArgumentParser) -> None:
    model_command.describe(command)
    command.set_defaults(run=model)


def _describe_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host")
    command.add_argument("--port", type=int)
    command.add_argument("--catalog-dir", type=Path)
    command.add_argument("--workers", type=int, help="web processes, beside a hub and a controller")
    command.add_argument(
        "--role", choices=list(Role), default=Role.ALL, help="be one process of several"
    )
    command.add_argument(
        "--no-migrate",
        action="store_true",
        help="leave the database's tables as they are, and refuse to serve if they are out of date",
    )
    # How the supervisor of several processes calls them: its id, and the file to listen on.
    command.add_argument("--supervisor", type=int, help=argparse.SUPPRESS)
    command.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    command.add_argument(
        "--local-globus",
        action="store_true",
        default=None,
        help="accept a stand-in for Globus: for development alone",
    )
    command.set_defaults(run=serve)


def _describe_check_catalog(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "directory",
        type=Path,
        nargs="?",
        help="default: HOTNODE_CATALOG_DIR, else endpoint_configs",
    )
    command.add_argument(
        "--clients-dir",
        type=Path,
        help="look for the clusters' Globus clients, too; default: HOTNODE_GLOBUS_CLIENTS_DIR",
    )
    command.set_defaults(run=check_catalog)


if __name__ == "__main__":
    sys.exit(main())
