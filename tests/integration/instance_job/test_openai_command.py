"""The generic engine file: any server behind a program of the site's, on a port with a key."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import yaml

from compute_functions.endpoint_files import CONFIGS
from compute_functions.engine_client import Call
from lab import lifecycle_engine
from tests.support.ordered_jobs import MODEL, PATH, OrderedSite, engine_of

#: As the file tells operators to write it, for our server.
SERVE = f"""\
#!/bin/sh
name=$2 weights=$4 port=$8; shift 8
export LIFECYCLE_ENGINE_KEY="$SERVE_API_KEY"
exec {sys.executable} -P {lifecycle_engine.__file__} \\
    --socket "$port" --model "$name" --weights "$weights" "$@"
"""


async def test_a_server_of_the_site_s_own_is_run_with_its_key_and_gpus(tmp_path: Path) -> None:
    ordered = OrderedSite.made(tmp_path)
    program = tmp_path / "installed" / "openai-command" / "bin" / "serve"
    program.parent.mkdir(parents=True)
    program.write_text(SERVE)
    program.chmod(0o755)
    engine_file = tmp_path / "engines" / "openai-command.yaml"
    engine_file.write_text((CONFIGS / "engines" / "openai-command.yaml").read_text())
    change(
        ordered.site.root / "site.yaml",
        "models",
        engines=["openai-command"],
        engines_dir=str(tmp_path / "installed"),
    )
    change(tmp_path / "models" / "model.yaml", engine="openai-command")
    ordered.order(framework="openai", engine_file=str(engine_file))

    async with ordered.job(environment={"CUDA_VISIBLE_DEVICES": "3"}) as child:
        found = await ordered.ready(child)
        call = Call(
            path=PATH, body=json.dumps({"model": MODEL}).encode(), timeout_s=10, max_bytes=1000
        )
        said = json.loads((await engine_of(found).send(call)).body)
        refused = await replace(engine_of(found), api_key="").send(call)
        ordered.tell()
        assert await child.left(within_s=60) == 0

    assert found.endpoint.startswith("http://127.0.0.1:")
    assert (said["gpus"], refused.status) == ("3", 401)
    # It tells no load: of requests only those of the relay are known.
    assert (found.running, found.in_flight) == (None, 0)
    assert ordered.state() == "stopped"


def change(file: Path, section: str = "", **fields: object) -> None:
    values = yaml.safe_load(file.read_text())
    (values[section] if section else values).update(fields)
    file.write_text(yaml.safe_dump(values))
