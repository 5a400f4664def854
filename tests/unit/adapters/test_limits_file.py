from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from resource_server.__main__ import main
from resource_server.adapters import limits_file
from resource_server.adapters.limits_file import LimitsFile
from resource_server.domain.errors import CatalogInvalid
from resource_server.domain.limit_rules import Allowance, LimitRules
from resource_server.domain.limits import NO_SIZES, BodySizes
from resource_server.services.limit_rules import LiveLimitRules
from tests.support.doubles import person
from tests.support.eventually import eventually

STAFF = "94090000-0000-4000-8000-000000000003"
TEXT = f"""\
default:
  requests_per_minute: 10
  tokens_per_minute: 0
groups:
  {STAFF.upper()}:
    requests_per_minute: 100
    max_body_bytes: 40000000
    max_upload_bytes: 90000000
models:
  big/model:
    concurrent_requests: 2
people:
  alice@example.org:
    requests_per_minute: 600
    models:
      big/model:
        concurrent_requests: 8
"""
BASE = Allowance(requests_per_minute=5, tokens_per_minute=1000, concurrent_requests=3)


def write(directory: Path, text: str) -> None:
    # In one step, as an editor does: whoever looks meanwhile sees no half of it.
    new = directory / "limits.yaml.new"
    new.write_text(text)
    new.replace(directory / "limits.yaml")


def amounts(rules: LimitRules, who) -> dict[str, int]:
    return {
        f"{limit.measure} {limit.scope}": limit.amount
        for limit in rules.limits_of(who, "big/model")
    }


async def load(directory: Path) -> LimitRules:
    rules = await LimitsFile(directory, BASE).load()
    assert rules is not None
    return rules


@pytest.mark.row("U-29")
async def test_the_file_says_more_than_the_settings(tmp_path):
    write(tmp_path, TEXT)
    rules = await load(tmp_path)
    assert amounts(rules, person("eve@example.org")) == {
        "requests person": 10,
        "concurrent person": 3,
        "concurrent model": 2,
    }
    bob = person("bob@example.org", STAFF)
    assert amounts(rules, bob)["requests person"] == 100
    assert rules.body_sizes_of(bob) == BodySizes(body=40_000_000, upload=90_000_000)
    assert rules.body_sizes_of(person("eve@example.org")) == NO_SIZES
    assert amounts(rules, person("alice@example.org")) == {
        "requests person": 600,
        "concurrent person": 3,
        "concurrent model": 8,
    }


async def test_without_a_file_the_settings_count(tmp_path):
    assert amounts(await load(tmp_path), person("eve@example.org")) == {
        "requests person": 5,
        "tokens person": 1000,
        "concurrent person": 3,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("default:\n  requests: 5\n", "2: default.requests: unknown field"),
        ("default:\n  requests_per_minute: -1\n", "2: default.requests_per_minute: must be"),
        ("default:\n  requests_per_minute: 2.5\n", "2: default.requests_per_minute: must be"),
        ("default:\n  requests_per_minute: yes\n", "2: default.requests_per_minute: must be"),
        ("default:\n  max_body_bytes: 0\n", "2: default.max_body_bytes: must be greater than 0"),
        (
            "default:\n  max_body_bytes: 40 MB\n",
            "2: default.max_body_bytes: must be a whole number",
        ),
        (
            "default:\n  max_upload_bytes: 268435457\n",
            "2: default.max_upload_bytes: must be less than or equal to 268435456",
        ),
        (
            "models:\n  m: {max_body_bytes: 1}\n",
            "2: models.m.max_body_bytes: unknown field",
        ),
        ("groups:\n  staff: {}\n", "2: groups.staff"),
        ("people:\n  A@b.c: {}\n  a@B.c: {}\n", "1: people: a name stands here twice"),
        ("models: {m: {}}\ndefault:\n  models: {m: {}}\n", "1: models: 'm' also stands in default"),
        ("- a\n", "1: the file is not a mapping"),
    ],
)
async def test_a_mistake_is_named_with_its_line(tmp_path, text, problem):
    write(tmp_path, text)
    with pytest.raises(CatalogInvalid) as invalid:
        await LimitsFile(tmp_path, BASE).load()
    assert str(invalid.value).startswith(f"{tmp_path}/limits.yaml:{problem}")
    with pytest.raises(CatalogInvalid):
        limits_file.check(tmp_path)


def test_a_model_that_nobody_describes_is_a_mistake(tmp_path):
    write(tmp_path, TEXT)
    limits_file.check(tmp_path)
    assert limits_file.problems(tmp_path, models={"big/model"}) == ()
    first, second = limits_file.problems(tmp_path, models={"other"})
    assert first.endswith("limits.yaml:10: models.big/model: no file describes a model 'big/model'")
    assert "limits.yaml:16: people.alice@example.org.models.big/model: no file" in second


CATALOG = {
    "sites/local.yaml": """\
cluster: local
frameworks: {vllm: {}}
globus_compute:
  client: local
  endpoint_id: 7b5a0c0e-0000-4000-8000-000000000001
  functions:
    run_request: 7b5a0c0e-0000-4000-8000-000000000002
    site_status: 7b5a0c0e-0000-4000-8000-000000000003
""",
    "models/big.yaml": "id: big/model\ndeployments: [{cluster: local, framework: vllm}]\n",
    "limits.yaml": TEXT,
}


def test_the_command_that_checks_the_catalog_checks_the_limits(tmp_path, capsys):
    for name, text in CATALOG.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert main(["check-catalog", str(tmp_path)]) == 0
    write(tmp_path, TEXT.replace("big/model", "bug/model"))
    assert main(["check-catalog", str(tmp_path)]) == 2
    assert "limits.yaml:10: models.bug/model: no file describes" in capsys.readouterr().err


async def test_the_example_in_the_docs_is_right(tmp_path):
    page = Path(__file__).parents[3] / "docs" / "operators" / "limits.md"
    [example] = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    write(tmp_path, example)
    rules = await load(tmp_path)
    assert amounts(rules, person("alice@example.org"))["requests person"] == 1000


def test_there_need_not_be_a_file(tmp_path):
    assert limits_file.problems(tmp_path, models=()) == ()


def requests_of(rules: LiveLimitRules) -> int:
    return amounts(rules.current(), person("eve@example.org"))["requests person"]


async def test_a_change_is_taken_up_at_the_second_look(tmp_path):
    rules = LiveLimitRules(LimitsFile(tmp_path, BASE))
    await rules.start()
    assert requests_of(rules) == 5
    write(tmp_path, TEXT)
    assert [await rules.refresh() for _ in range(3)] == [False, True, False]
    assert requests_of(rules) == 10
    (tmp_path / "limits.yaml").unlink()
    assert [await rules.refresh() for _ in range(3)] == [False, True, False]
    assert requests_of(rules) == 5


async def test_with_a_mistake_in_the_file_the_last_rules_count(tmp_path):
    write(tmp_path, TEXT)
    rules = LiveLimitRules(LimitsFile(tmp_path, BASE))
    await rules.start()
    write(tmp_path, "default: 7\n")
    assert not await rules.refresh()
    for _ in range(2):
        with pytest.raises(CatalogInvalid):
            await rules.refresh()
    assert requests_of(rules) == 10


async def test_a_directory_that_is_away_lifts_no_limit(tmp_path):
    directory = tmp_path / "catalog"
    directory.mkdir()
    write(directory, TEXT)
    rules = LiveLimitRules(LimitsFile(directory, BASE))
    await rules.start()
    directory.rename(tmp_path / "elsewhere")
    for _ in range(3):
        assert not await rules.refresh()
    assert requests_of(rules) == 10


async def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path):
    (tmp_path / "limits.yaml").mkdir()
    with pytest.raises(CatalogInvalid, match="cannot be read"):
        await LimitsFile(tmp_path, BASE).load()
    (tmp_path / "file").touch()
    with pytest.raises(CatalogInvalid, match="cannot be read"):
        await LimitsFile(tmp_path / "file", BASE).load()


async def test_the_rules_are_followed_while_the_gateway_runs(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path, TEXT)
    rules = LiveLimitRules(LimitsFile(tmp_path, BASE))
    await rules.start()
    following = asyncio.create_task(rules.follow(every_s=0.001))
    write(tmp_path, "default: 7\n")
    await eventually(lambda: "limits_invalid" in caplog.messages)
    write(tmp_path, "default: {requests_per_minute: 77}\n")
    await eventually(lambda: requests_of(rules) == 77)
    following.cancel()
    await asyncio.wait([following])
    assert caplog.messages == ["limits_loaded", "limits_invalid", "limits_loaded"]


async def test_the_file_says_how_often_people_may_ask_about_batches(tmp_path):
    write(tmp_path, "people:\n  alice@example.org: {batch_requests_per_minute: 7}\n")
    rules = await LimitsFile(tmp_path, replace(BASE, batch_requests_per_minute=9)).load()
    assert rules is not None
    for name, amount in (("alice", 7), ("bob", 9)):
        (limit,) = rules.batch_limits_of(person(f"{name}@example.org"))
        assert limit.amount == amount
