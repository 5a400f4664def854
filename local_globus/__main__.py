"""The command line: `serve` runs a local Globus, `env` prints how to reach it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from local_globus import environment, server
from local_globus.compute import limits
from local_globus.compute.link import LinkError
from local_globus.seed import SeedError


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    status: int = options.command(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_globus", description=__doc__)
    commands = parser.add_subparsers(required=True)
    serve = commands.add_parser("serve", help="run until SIGTERM or SIGINT")
    serve.set_defaults(command=_serve)
    _state(serve)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=0, help="0: as the last time, or a free one")
    serve.add_argument("--amqp-port", type=int, default=0, help="likewise")
    serve.add_argument("--amqp-url", help="use this broker (RabbitMQ) instead of the built-in one")
    serve.add_argument("--seed", type=Path, help="people, groups, policies and clients (YAML)")
    serve.add_argument("--token-lifetime", type=int, default=server.DEFAULT_TOKEN_LIFETIME_S)
    serve.add_argument("--no-limits", action="store_true", help="lift the limits of the service")
    serve.add_argument("--test-controls", action="store_true", help="serve /_local/")
    env = commands.add_parser("env", help="print the variables for SDK and agent as shell lines")
    env.set_defaults(command=_env)
    _state(env)
    return parser


def _state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", type=Path, required=True, help="where everything is kept")


def _serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("pika").setLevel(logging.ERROR)
    options = server.Options(
        state=arguments.state,
        host=arguments.host,
        port=arguments.port,
        amqp_port=arguments.amqp_port,
        amqp_url=arguments.amqp_url,
        seed=arguments.seed,
        limits=limits.NONE if arguments.no_limits else limits.Limits(),
        token_lifetime_s=arguments.token_lifetime,
        test_controls=arguments.test_controls,
    )
    status = 0
    try:
        asyncio.run(_until_signalled(options))
    except* (server.AlreadyRunning, SeedError, LinkError) as errors:
        status = 1
        sys.stderr.writelines(f"{error}\n" for error in errors.exceptions)
    return status


async def _until_signalled(options: server.Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(running: server.Running) -> None:
        sys.stdout.write(f"local Globus ready at {running.url}\n")
        sys.stdout.flush()

    await server.serve(options, stop, ready)


def _env(arguments: argparse.Namespace) -> int:
    ready_file = arguments.state / server.READY_FILE
    if not ready_file.exists():
        sys.stderr.write(f"No local Globus runs with the state in {arguments.state}\n")
        return 1
    url = json.loads(ready_file.read_text("utf-8"))["url"]
    sys.stdout.write(environment.as_shell(environment.for_url(url)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
