"""How many requests a second the gateway carries by itself, beside a bare proxy and stock Django.

All servers stand in front of one mock engine, on one machine, in one run; the variants take turns.
Requests per CPU second is the number to compare: it depends least on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

BENCHMARKS = Path(__file__).parent
ROUTE = "/resource_server/local/vllm/v1/chat/completions"
BASELINE = "raw_proxy"
#: Module of `alone`, its argument if it has one, and what it is.
VARIANTS = {
    "engine": "mock engine, nothing between",
    "raw_proxy": "raw ASGI proxy, aiohttp",
    "hotnode": "Hotnode's gateway",
    "hotnode unwatched": "the same without metrics",
    "hotnode traced": "the same with metrics and traces",
    "stock_ninja": "django-ninja, stock Django handler",
}
HEADINGS = ("req/s", "p50 ms", "p99 ms", "CPU s", "req/CPU-s", "CPU us/req", "of raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    port: int
    pid: int


def _environment() -> dict[str, str]:
    """Return an environment in which `alone` can be imported."""
    return os.environ | {"PYTHONPATH": str(BENCHMARKS)}


@contextmanager
def running(name: str, *arguments: str, log: Path) -> Iterator[Server]:
    """Start one of the servers, which prints its port, and stop it afterwards."""
    module, *ours = name.split()
    command = [sys.executable, "-m", f"alone.{module}", *arguments, *ours]
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603 - a script of ours
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=_environment()
        ) as process,
    ):
        try:
            if process.stdout is None or not (line := process.stdout.readline()):
                raise RuntimeError(f"{name} did not start:\n{log.read_text()}")
            yield Server(port=int(line), pid=process.pid)
        finally:
            process.terminate()


def measure(server: Server, options: argparse.Namespace) -> dict[str, float]:
    """Put load on a server, from a process of its own, and return what that measured."""
    command = [sys.executable, "-m", "alone.load", str(server.port), "--path", ROUTE]
    command += ["--pid", str(server.pid), "--seconds", str(options.seconds)]
    command += ["--connections", str(options.connections)]
    done = subprocess.run(  # noqa: S603 - a script of ours
        command, check=True, capture_output=True, text=True, env=_environment()
    )
    measured: dict[str, float] = json.loads(done.stdout)
    del measured["cpu_each_s"]  # There is one process, which is the whole.
    return measured


def compare(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return each variant's median of every number, over all rounds."""
    rounds: dict[str, list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gateway-alone-")))

        def start(name: str, *arguments: str) -> Server:
            return stack.enter_context(running(name, *arguments, log=folder / f"{name}.log"))

        servers = {"engine": start("engine")}
        port = str(servers["engine"].port)
        servers |= {name: start(name, port) for name in VARIANTS if name != "engine"}
        for number in range(options.rounds):
            for name, server in servers.items():
                print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
                rounds[name].append(measure(server, options))
    return {name: _medians(results) for name, results in rounds.items()}


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def show(medians: dict[str, dict[str, float]]) -> None:
    """Print the table."""
    print(f"{'':36}" + "".join(f"{heading:>12}" for heading in HEADINGS))
    for name, title in VARIANTS.items():
        m = medians[name]
        ratio = m["per_cpu_s"] / medians[BASELINE]["per_cpu_s"]
        cells = (
            f"{m['rate']:.0f}",
            f"{m['p50_ms']:.2f}",
            f"{m['p99_ms']:.2f}",
            f"{m['cpu_s']:.2f}",
            f"{m['per_cpu_s']:.0f}",
            f"{1_000_000 / m['per_cpu_s']:.0f}",
            f"{ratio:.2f}",
        )
        print(f"{title:36}" + "".join(f"{cell:>12}" for cell in cells))


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of load, per turn")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    options = parser.parse_args()
    print(
        f"{options.connections} connections, {options.seconds:g} s a turn, "
        f"medians of {options.rounds} rounds, one worker, Python {sys.version.split()[0]}"
    )
    show(compare(options))


if __name__ == "__main__":
    main()
