from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from resource_server.adapters import catalog_files
from resource_server.adapters.catalog_spec import SiteSpec
from resource_server.domain.catalog import Flag
from resource_server.domain.errors import CatalogInvalid

ID = "7b5a0c0e-0000-4000-8000-00000000000"
SITE = f"""\
cluster: local
frameworks:
  vllm: {{}}
globus_compute:
  client: local
  endpoint_id: {ID}1
  functions:
    run_request: {ID}2
    site_status: {ID}3
"""
MODEL = """\
id: hotnode/tiny-chat
deployments:
  - cluster: local
    framework: vllm
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    write(tmp_path, "sites/local.yaml", SITE)
    write(tmp_path, "models/tiny.yaml", MODEL)
    return tmp_path


def write(catalog: Path, name: str, text: str) -> None:
    path = catalog / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def problems(catalog: Path) -> list[str]:
    with pytest.raises(CatalogInvalid) as invalid:
        catalog_files.read(catalog)
    return [problem.removeprefix(f"{catalog}/") for problem in invalid.value.problems]


def test_files_without_mistakes_are_read(catalog):
    documents = catalog_files.read(catalog)
    assert [site.cluster for site in documents.sites] == ["local"]
    assert [model.id for model in documents.models] == ["hotnode/tiny-chat"]


@pytest.mark.row("C-34")
def test_a_model_s_file_says_its_flags(catalog):
    write(catalog, "models/tiny.yaml", MODEL + "flags: [R, B, T]\nlifecycle: {gpus: 1}\n")
    (model,) = catalog_files.read(catalog).models
    assert model.flags == {Flag.BATCH, Flag.TOOLS, Flag.REASONING}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("sites/local.yaml", SITE + "colour: red\n", "sites/local.yaml:10: colour: unknown field"),
        (
            "sites/local.yaml",
            SITE.replace(f"{ID}1", "nonsense"),
            "sites/local.yaml:6: globus_compute.endpoint_id: must be an id such as",
        ),
        (
            "sites/local.yaml",
            SITE.replace("site_status", "other"),
            "sites/local.yaml:7: globus_compute.functions: not registered: site_status",
        ),
        (
            "sites/local.yaml",
            SITE.replace("cluster: local", "cluster: v1"),
            "1: cluster: 'v1' is a",
        ),
        ("sites/local.yaml", "cluster: [\n", "sites/local.yaml:2: "),
        ("sites/local.yaml", "a: 2024-13-45\n", "sites/local.yaml:1: a value cannot be read"),
        ("sites/local.yaml", "? [a]\n: b\n", "sites/local.yaml:1: a value cannot be read"),
        ("sites/local.yaml", "a: !!python/none x\n", "sites/local.yaml:1: a value cannot be"),
        ("sites/local.yaml", "a: &a [*a]\n", "sites/local.yaml:1: "),
        ("sites/local.yaml", "- a\n", "sites/local.yaml:1: the file is not a mapping"),
        (
            "sites/local.yaml",
            SITE + "cluster: b\n",
            "sites/local.yaml:10: cluster: stands here twice",
        ),
        (
            "models/tiny.yaml",
            MODEL + "flags: [X]\n",
            "models/tiny.yaml:5: flags.0: must be",
        ),
        (
            "models/tiny.yaml",
            MODEL.replace("framework: vllm", "framework: infinity"),
            "models/tiny.yaml:3: deployments.0: no site offers the framework 'infinity'",
        ),
        (
            "models/second.yaml",
            MODEL,
            "id: 'hotnode/tiny-chat' is also described in",
        ),
    ],
)
def test_a_mistake_is_named_with_file_line_and_field(catalog, name, text, problem):
    write(catalog, name, text)
    assert any(problem in found for found in problems(catalog)), problems(catalog)


def test_all_mistakes_are_named_at_once(catalog):
    write(catalog, "sites/local.yaml", SITE + "a: 1\nb: 2\n")
    write(catalog, "models/tiny.yaml", MODEL + "c: 3\n")
    assert len(problems(catalog)) == 3


def test_functions_may_stand_in_a_lock_file(catalog):
    lock = {"functions": {name: {"id": f"{ID}4"} for name in ("run_request", "site_status")}}
    write(catalog, "sites/functions.lock.json", json.dumps(lock))
    inline = SITE.index("  functions:")
    write(catalog, "sites/local.yaml", SITE[:inline] + "  functions_file: functions.lock.json\n")
    site = catalog_files.read(catalog).sites[0]
    assert str(site.globus_compute.functions["run_request"]) == f"{ID}4"


def test_a_missing_lock_file_is_named(catalog):
    inline = SITE.index("  functions:")
    write(catalog, "sites/local.yaml", SITE[:inline] + "  functions_file: absent.json\n")
    assert "absent.json is no lock file" in problems(catalog)[0]


def test_a_changed_file_changes_the_fingerprint(catalog):
    before = catalog_files.fingerprint(catalog)
    assert catalog_files.fingerprint(catalog) == before
    write(catalog, "models/tiny.yaml", MODEL + "description: x\n")
    assert catalog_files.fingerprint(catalog) != before


GROUP = "94090000-0000-4000-8000-000000000003"
PROJECT = f"project: OPEN-30-1\naccess: {{groups: [{GROUP}]}}\n"


@pytest.mark.row("U-6", "U-7")
def test_aliases_are_read_with_their_parameters(catalog):
    write(
        catalog,
        "models/tiny.yaml",
        MODEL + "aliases:\n  tiny:\n  quick: {parameters: {temperature: 0}, description: Fast.}\n",
    )
    [spec] = catalog_files.read(catalog).models
    plain, quick = sorted(spec.to_domain(created=0).aliases, key=lambda alias: -len(alias.name))[
        ::-1
    ]
    assert (plain.name, dict(plain.parameters)) == ("tiny", {})
    assert (quick.name, dict(quick.parameters), quick.description) == (
        "quick",
        {"temperature": 0},
        "Fast.",
    )


def test_projects_are_read_where_there_are_any(catalog):
    assert catalog_files.read(catalog).projects == ()
    write(catalog, "projects/one.yaml", PROJECT + "models: [hotnode/tiny-chat]\n")
    [project] = catalog_files.read(catalog).projects
    assert project.to_domain().models == {"hotnode/tiny-chat"}


SECOND = MODEL.replace("tiny-chat", "other")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (
            "models/b.yaml",
            SECOND + "aliases: {hotnode/tiny-chat: {}}\n",
            "models/b.yaml:5: aliases.hotnode/tiny-chat: 'hotnode/tiny-chat' also stands in",
        ),
        (
            "models/b.yaml",
            SECOND + "aliases:\n  short: {parameters: {model: x}}\n",
            "models/b.yaml:6: aliases.short.parameters: 'model' is the caller's to set",
        ),
        (
            "models/b.yaml",
            SECOND + "aliases: {hotnode/other: {}}\n",
            "models/b.yaml:5: aliases: an alias is the model's own id",
        ),
        (
            "models/b.yaml",
            SECOND + "routes: [chat/completion]\n",
            "models/b.yaml:5: routes: 'chat/completion' is no route; there are audio/",
        ),
        (
            "models/b.yaml",
            SECOND + "modalities: [smell]\n",
            "models/b.yaml:5: modalities.0: must be 'image' or 'audio'",
        ),
        (
            "projects/one.yaml",
            "project: OPEN-30-1\n",
            "projects/one.yaml:1: access: who is in the project?",
        ),
        (
            "projects/one.yaml",
            PROJECT + "models: [absent]\n",
            "projects/one.yaml:3: models: no file describes a model 'absent'",
        ),
        (
            "projects/one.yaml",
            PROJECT.replace("OPEN-30-1", "a/b"),
            "projects/one.yaml:1: project: must be 1 to 64 letters, digits",
        ),
    ],
)
def test_mistakes_in_aliases_routes_and_projects_are_named(catalog, name, text, problem):
    write(catalog, name, text)
    [found] = problems(catalog)
    assert found.startswith(problem)


def test_two_models_with_one_alias_are_named(catalog):
    write(catalog, "models/tiny.yaml", MODEL + "aliases: {short: {}}\n")
    write(catalog, "models/z.yaml", SECOND + "aliases: {short: {}}\n")
    [found] = problems(catalog)
    assert found.startswith("models/z.yaml:5: aliases.short: 'short' also stands in")


@pytest.mark.parametrize("name", ["priority", "cache_salt"])
def test_an_alias_may_not_set_what_its_model_s_places_reserve(catalog, name):
    write(catalog, "sites/local.yaml", SITE.replace("{}", "{reserved_fields: [priority]}"))
    alias = f"aliases:\n  quick:\n    parameters:\n      top_p: 1\n      {name}: 1\n"
    write(catalog, "models/tiny.yaml", MODEL + alias)
    [found] = problems(catalog)
    assert found.startswith(f"models/tiny.yaml:9: aliases.quick.parameters.{name}: this field is")


def test_an_alias_may_set_what_only_other_places_reserve(catalog):
    two = "  vllm: {}\n  infinity: {reserved_fields: [priority]}\n"
    write(catalog, "sites/local.yaml", SITE.replace("  vllm: {}\n", two))
    write(catalog, "models/tiny.yaml", MODEL + "aliases: {quick: {parameters: {priority: 1}}}\n")
    assert catalog_files.read(catalog).models


def test_a_site_s_relay_key_is_read(catalog):
    key = base64.b64encode(bytes(range(32))).decode()
    write(catalog, "sites/local.yaml", f"{SITE}relay:\n  public_key: {key}\n")
    [site] = catalog_files.read(catalog).sites
    assert site.to_domain().relay_key == key
    assert SiteSpec.model_validate(site.to_row()) == site


def test_a_site_without_relays_has_no_key(catalog):
    [site] = catalog_files.read(catalog).sites
    assert site.to_domain().relay_key == ""


@pytest.mark.parametrize(
    "key",
    ["x", "", "ä" * 44, base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode()],
)
def test_a_relay_key_that_is_none_is_a_mistake(catalog, key):
    write(catalog, "sites/local.yaml", f'{SITE}relay:\n  public_key: "{key}"\n')
    [problem] = problems(catalog)
    assert problem.startswith("sites/local.yaml:11: relay.public_key: is no Ed25519 key")


def test_a_key_belongs_to_one_cluster(catalog):
    """Whoever signs with it could speak for the other one, however the key is spelled there."""
    key = base64.b64encode(bytes(range(32))).decode()
    # The last character has two bits that belong to no byte.
    spelled = key[:-2] + chr(ord(key[-2]) + 1) + "="
    assert base64.b64decode(spelled) == base64.b64decode(key)
    site = "cluster: {}\nframeworks:\n  vllm: {{}}\nrelay:\n  public_key: {}\n"
    write(catalog, "sites/one.yaml", site.format("one", key))
    assert {spec.cluster for spec in catalog_files.read(catalog).sites} == {"local", "one"}
    for written in (key, spelled):
        write(catalog, "sites/two.yaml", site.format("two", written))
        first = catalog / "sites" / "one.yaml"
        assert problems(catalog) == [
            f"sites/two.yaml:5: relay.public_key: the same key stands in {first}"
        ]


@pytest.mark.parametrize(
    "kept",
    [
        "lifecycle: {gpus: 1}\n" + MODEL,
        MODEL.replace("framework: vllm", "framework: vllm\n    lifecycle: {gpus: 1}"),
    ],
    ids=["everywhere", "there"],
)
def test_a_model_is_kept_only_where_somebody_can_be_told_so(catalog, kept):
    write(catalog, "models/tiny.yaml", kept)
    assert len(catalog_files.read(catalog).models) == 1
    deaf = "cluster: local\nframeworks:\n  vllm: {direct: {url: 'http://node'}}\n"
    write(catalog, "sites/local.yaml", deaf)
    (problem,) = problems(catalog)
    assert "deployments.0: lifecycle: 'local' has neither relay nor globus_compute" in problem


def test_a_model_s_mistakes_in_its_lifecycle_are_named_with_their_lines(catalog):
    write(catalog, "models/tiny.yaml", MODEL + "lifecycle:\n  gpus: -1\n  walltime: soon\n")
    assert problems(catalog) == [
        "models/tiny.yaml:6: lifecycle.gpus: must be greater than or equal to 0",
        'models/tiny.yaml:7: lifecycle.walltime: must be seconds, or as "12:30:00"',
    ]


@pytest.mark.parametrize("said", ["projects: [OPEN-30-1]", "project_weights: {OPEN-30-1: 2}"])
def test_a_site_s_batches_name_projects_that_there_are(catalog, said):
    functions = f"    run_batch: {ID}4\n    batch_file: {ID}5\n"
    batches = f"batches:\n  groups: [{ID}1]\n  {said}\n"
    write(catalog, "sites/local.yaml", SITE + functions + batches)
    (problem,) = problems(catalog)
    field = said.partition(":")[0]
    assert problem == (
        f"sites/local.yaml:14: batches.{field}: no file describes a project 'OPEN-30-1'"
    )
    write(catalog, "projects/one.yaml", PROJECT)
    assert len(catalog_files.read(catalog).sites) == 1


BATCHES = "batches: {groups: [11111111-1111-4111-8111-111111111111]}\n"
OWN = MODEL + "flags: [B]\nlifecycle: {gpus: 1}\nbatch: {placement: own}\n"


def taking(catalog: Path, name: str) -> None:
    """Describe a cluster that takes batches."""
    functions = f"    run_batch: {ID}4\n    batch_file: {ID}5\n"
    write(catalog, f"sites/{name}.yaml", SITE.replace("local", name, 1) + functions + BATCHES)


def test_batches_have_instances_of_their_own_only_where_they_are_taken(catalog):
    write(catalog, "models/tiny.yaml", OWN)
    (problem,) = problems(catalog)
    assert problem == (
        "models/tiny.yaml:7: batch.placement: own: no cluster of the model takes batches: "
        "the site's file needs batches"
    )
    taking(catalog, "local")
    assert len(catalog_files.read(catalog).models) == 1


def test_and_only_where_somebody_starts_them(catalog):
    taking(catalog, "local")
    taking(catalog, "other")
    here = "    lifecycle: {gpus: 1}\n  - cluster: other\n    framework: vllm\n"
    write(catalog, "models/tiny.yaml", MODEL + here + "flags: [B]\nbatch: {placement: own}\n")
    (problem,) = problems(catalog)
    assert problem.startswith("models/tiny.yaml:6: deployments.1: batch: placement: own needs a ")
