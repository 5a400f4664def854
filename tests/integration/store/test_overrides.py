"""What operators say of single models: written by a command, and part of the next snapshot."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError

from compute_functions.contract.lifecycle import MOST_INSTANCES
from resource_server import model_command
from resource_server.domain import errors
from resource_server.domain.desired import desired_state
from resource_server.store.catalog import CatalogTables
from resource_server.store.database import in_database
from resource_server.store.models import ClusterRow, ModelRow, Origin, OverrideRow
from resource_server.store.numbers import catalog_numbers, grow_version, raise_generation

SITE = {"cluster": "local", "frameworks": {"vllm": {"direct": {"url": "http://node"}}}}
PLACE = {"cluster": "local", "framework": "vllm"}


def fill() -> None:
    """Put two models into the catalog, of which one is kept."""
    ClusterRow.objects.create(name="local", origin=Origin.YAML, spec=SITE)
    hot: dict[str, Any] = {
        "id": "hot",
        "deployments": [PLACE],
        "aliases": {"warm": {}},
        "lifecycle": {"gpus": 1, "min": 1},
    }
    by_hand: dict[str, Any] = {"id": "by-hand", "deployments": [PLACE]}
    for spec in (hot, by_hand):
        ModelRow.objects.create(model_id=spec["id"], origin=Origin.YAML, spec=spec)
    grow_version()


def command(wish: str, **given: Any) -> list[str]:
    return list(model_command.run(wish, **given))


def fill_a_day() -> None:
    """Put a model into the catalog that says everything, and is kept at one of its two places."""
    for name in ("local", "far"):
        ClusterRow.objects.create(name=name, origin=Origin.YAML, spec={**SITE, "cluster": name})
    spec: dict[str, Any] = {
        "id": "vendor/day",
        "engine": "vllm",
        "context_length": 4096,
        "aliases": {"day": {}},
        "deployments": [
            {
                **PLACE,
                "lifecycle": {
                    "gpus": 4,
                    "walltime": "24:00:00",
                    "walltime_ratio": 0.8,
                    "max": 2,
                    "idle_timeout": "02:00:00",
                    "priority": 3,
                    "refresh": False,
                    "autoscale": True,
                },
            },
            {**PLACE, "cluster": "far"},
        ],
    }
    ModelRow.objects.create(model_id=spec["id"], origin=Origin.YAML, spec=spec)
    grow_version()


async def bounds() -> tuple[int, int]:
    (one,) = desired_state(await CatalogTables().load(), "local").models
    return one.min, one.max


@pytest.mark.usefixtures("any_database")
class TestRows:
    async def test_each_word_is_in_the_next_snapshot_and_grows_its_version(self):
        await in_database(fill)
        version = (await CatalogTables().load()).version
        for wish, expected in (("unload", (0, 1)), ("pin", (1, 1)), ("disable", (0, 0))):
            (line,) = await in_database(command_of(wish))
            assert line.startswith("hot at local: ")
            assert await bounds() == expected
            version += 1
            assert await CatalogTables().version() == version
        listed = await in_database(command_of("list"))
        assert listed[0] == "by-hand at local (vllm): started by hand"
        assert listed[1].startswith("hot at local (vllm): min=1 max=1 gpus=1 ")
        assert listed[1].endswith("; disabled")
        assert await in_database(command_of("enable")) == ["hot at local: as its file says"]
        assert await bounds() == (1, 1)

    @pytest.mark.row("C-61", "L-12", "L-19", "L-21")
    async def test_every_registered_model_is_listed_with_its_configuration(self):
        await in_database(fill_a_day)
        await in_database(lambda: command("pin", model="vendor/day", cluster="local", instances=3))

        (text,) = await in_database(lambda: command("list", as_json=True, cluster="local"))
        (one,) = [found for found in json.loads(text) if found["model"] == "vendor/day"]
        assert one == {
            "model": "vendor/day",
            "cluster": "local",
            "framework": "vllm",
            "engine": "vllm",
            "routes": ["chat/completions", "completions"],
            "context_length": 4096,
            "aliases": ["day"],
            "lifecycle": {
                "gpus": 4,
                "walltime_s": 86_400.0,
                "walltime_ratio": 0.8,
                "min": 0,
                "max": 2,
                "idle_timeout_s": 7200.0,
                "priority": 3,
                "refresh": False,
                "autoscale": True,
            },
            "desired_min": 3,
            "desired_max": 3,
            "pinned": 3,
            "disabled": False,
            "unloaded": False,
            "loaded_at": None,
        }
        lines = await in_database(lambda: command("list"))
        assert lines == [
            (
                "vendor/day at local (vllm): min=0 max=2 gpus=4 walltime=24:00:00"
                " walltime_ratio=0.8 idle_timeout=02:00:00 priority=3 refresh=false"
                " autoscale=true engine=vllm; pinned to 3"
            ),
            "vendor/day at far (vllm): started by hand",
        ]

    async def test_what_was_said_of_a_model_whose_file_is_gone_is_listed_too(self):
        await in_database(fill)
        await in_database(command_of("pin"))
        await in_database(lambda: ModelRow.objects.filter(model_id="hot").delete())
        listed = await in_database(command_of("list"))
        assert listed[-1] == "hot at local: pinned to 1; no file has it there"
        assert await in_database(lambda: command("list", cluster="far")) == []

    async def test_what_makes_no_sense_is_refused_in_words(self):
        await in_database(fill)
        for given, words in (
            ({"model": "none"}, "no model 'none'"),
            ({"model": "by-hand"}, "not kept anywhere"),
            ({"model": "hot", "cluster": "far"}, "not kept at 'far'"),
            ({"model": "warm"}, "another name of 'hot'"),
        ):
            with pytest.raises(errors.WishRefused, match=words):
                await in_database(partial(command, "load", **given))
        await in_database(command_of("disable"))
        with pytest.raises(errors.WishRefused, match="enable it first"):
            await in_database(command_of("pin"))

    @pytest.mark.parametrize("instances", [-1, 0, MOST_INSTANCES + 1, 10**30])
    async def test_no_more_is_pinned_than_a_site_takes(self, instances: int):
        await in_database(fill)
        with pytest.raises(errors.WishRefused, match=f"1 to {MOST_INSTANCES}"):
            await in_database(lambda: command("pin", model="hot", instances=instances))
        assert await bounds() == (1, 1)

    async def test_rows_that_say_two_things_are_impossible(self):
        def both(**fields: Any) -> None:
            OverrideRow.objects.create(model_id="m", cluster="c", pinned=1, **fields)

        for fields in (
            {"origin": Origin.YAML},
            {"origin": Origin.CLI, "disabled": True},
            {"origin": Origin.API, "unloaded": True},
        ):
            with pytest.raises(IntegrityError):
                await in_database(partial(both, **fields))

    async def test_a_generation_grows_when_an_operator_says_so(self):
        await in_database(fill)
        assert (await CatalogTables().load()).generation == 1
        version = await CatalogTables().version()
        assert await in_database(raise_generation) == 2
        assert await in_database(raise_generation, 9) == 9
        with pytest.raises(errors.WishRefused, match="never shrinks"):
            await in_database(raise_generation, 9)
        numbers = await in_database(catalog_numbers)
        assert (numbers.generation, numbers.version) == (9, version + 2)
        assert (await CatalogTables().load()).generation == 9
        for too_high in (10**15, 10**30):
            with pytest.raises(errors.WishRefused, match="no site"):
                await in_database(raise_generation, too_high)


def command_of(wish: str):
    given = {} if wish == "list" else {"model": "hot"}
    return lambda: command(wish, **given)


async def test_the_command_line_says_what_is_wrong_and_returns_2(tmp_path: Path):
    client = tmp_path / "client.json"
    client.write_text('{"client_id": "client", "client_secret": "secret"}')
    environment = os.environ | {
        "HOTNODE_STATE_DIR": str(tmp_path / "state"),
        "HOTNODE_SECRET_KEY": "k" * 40,
        "HOTNODE_GLOBUS_CLIENT_FILE": str(client),
        "HOTNODE_GLOBUS_CLIENTS_DIR": str(tmp_path),
    }

    async def run(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "resource_server", *arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        return process.returncode, said.decode()

    status, said = await run("model", "load", "hot")
    assert (status, "cannot be used" in said) == (2, True), said
    assert (await run("migrate"))[0] == 0
    assert await run("model", "load", "hot") == (2, "The catalog has no model 'hot'.\n")
    assert await run("model", "list") == (0, "")
    assert await run("model", "list", "--json") == (0, "[]\n")
    assert await run("raise-generation") == (0, "generation 2\n")
