"""What people ask of batches: who may have one, of what, where it is done, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from batch.rules import MOST_LINE_BYTES
from compute_functions.contract.batches import BatchState
from resource_server.domain import batch_progress, errors
from resource_server.domain.batch_requests import BatchRequest
from resource_server.domain.batches import Batch, BatchStatus, Stage
from resource_server.domain.catalog import Alias, Catalog, Flag, Framework
from resource_server.domain.files import Purpose, new_file_id
from resource_server.domain.identity import Person
from resource_server.domain.lifecycle import Place, Reach, SiteView
from resource_server.domain.paging import batch_paging
from resource_server.domain.routing import Base
from resource_server.domain.upkeep import Override
from resource_server.services.sessions import CacheSalts
from resource_server.store.batches import BatchRows
from resource_server.store.files import FileRows
from resource_server.store.lease import LeaseTable
from tests.support.batch_orders import lines
from tests.support.batch_plant import (
    ALICE,
    BOB,
    CLUSTER,
    EVE,
    GROUP,
    BatchPlant,
    cluster,
    model,
    offer,
)
from tests.support.batch_rows import SUM, report
from tests.support.slurm_site import FRAMEWORK, MODEL

pytestmark = pytest.mark.usefixtures("database")

PATH = "/project/in.jsonl"


class SitesKnown:
    """Knows how sites can be reached, and where the model is ready."""

    def __init__(self, reaches: Mapping[str, Reach], ready: tuple[str, ...] = ()) -> None:
        self._reaches = reaches
        self._ready = ready

    def view(self, cluster: str) -> SiteView:
        posts = {(FRAMEWORK, MODEL)} if cluster in self._ready else set()
        return SiteView(cluster=cluster, reach=self._reaches[cluster], ready=frozenset(posts))

    def serves(self, place: Place) -> bool | None:
        return place[0] in self._ready

    async def changed(self, views: object, *, within_s: float) -> bool:
        return False

    def waiting(self, place: Place) -> AbstractContextManager[None]:
        return nullcontext()


async def asked(
    plant: BatchPlant, by: Person = ALICE, base: Base | None = None, **values: Any
) -> Batch:
    """Ask for a batch of a file at the cluster, or of what `values` say."""
    given = {"input_path": PATH, "model": MODEL} | values
    return await plant.batches.create(by, base or Base(), BatchRequest(**given))


async def nothing_began(plant: BatchPlant) -> bool:
    page = await plant.batches.list(ALICE, batch_paging())
    return page.items == () and await BatchRows().clusters() == []


@pytest.mark.row("C-45", "C-46")
async def test_a_batch_is_a_row_before_anything_else(plant: BatchPlant) -> None:
    base = Base(cluster=CLUSTER, framework=FRAMEWORK)
    made = await asked(plant, base=base, output_folder="/project/out", metadata={"a": "b"})
    assert await plant.batches.get(ALICE, made.id) == made
    assert (made.status, made.stage, made.cluster) == (
        BatchStatus.VALIDATING,
        Stage.UNTOLD,
        CLUSTER,
    )
    order = made.order
    assert (order.input_path, order.input_name) == (PATH, "in.jsonl")
    assert order.output_folder == "/project/out"
    assert (order.model, order.framework) == (MODEL, FRAMEWORK)
    assert order.owner == (ALICE.primary.id,)
    assert order.username == "alice@example.org"
    assert order.share_of == f"person:{ALICE.account_id}"
    assert (order.weight, order.most_lines) == (1.0, 150_000)
    assert order.expires_at - order.created_at == 86_400
    assert not made.fetches


@pytest.mark.row("C-44")
async def test_a_model_without_the_flag_takes_none(plant: BatchPlant) -> None:
    plant.catalog = Catalog([cluster()], [model(flags=frozenset({Flag.TOOLS}))])
    with pytest.raises(errors.BatchNotOffered, match="flag B"):
        await asked(plant)
    assert await nothing_began(plant)


@pytest.mark.row("C-41")
async def test_who_is_in_none_of_the_groups_gets_none(plant: BatchPlant) -> None:
    with pytest.raises(errors.Forbidden, match=GROUP):
        await asked(plant, by=EVE)
    with pytest.raises(errors.Forbidden, match=r"eve@example\.org"):
        await asked(plant, by=EVE, base=Base(cluster=CLUSTER, framework=FRAMEWORK))
    assert (await plant.batches.list(EVE, batch_paging())).items == ()


async def test_a_cluster_that_offers_none_takes_none(plant: BatchPlant) -> None:
    plant.catalog = Catalog([replace(cluster(), batches=None)], [model()])
    with pytest.raises(errors.BatchNotOffered, match="No cluster"):
        await asked(plant)


async def test_a_model_that_nobody_may_see_here_is_absent(plant: BatchPlant) -> None:
    with pytest.raises(errors.ModelNotFound):
        await asked(plant, model="org/unknown")
    with pytest.raises(errors.ClusterNotFound):
        await asked(plant, base=Base(cluster="nowhere", framework=FRAMEWORK))
    with pytest.raises(errors.RouteNotServed):
        await asked(plant, endpoint="/v1/rerank")
    assert await nothing_began(plant)


async def test_an_alias_does_not_name_the_model_of_a_batch(plant: BatchPlant) -> None:
    plant.catalog = Catalog([cluster()], [replace(model(), aliases=(Alias(name="short"),))])
    with pytest.raises(errors.InvalidRequest, match=MODEL):
        await asked(plant, model="short")


async def test_weights_and_bounds_come_from_the_cluster_s_file(plant: BatchPlant) -> None:
    bounds = offer(weights={GROUP: 3.0, "other": 9.0}, most_lines=7, most_bytes=70, most_inputs=9)
    plant.catalog = Catalog([cluster(batches=bounds)], [model()])
    order = (await asked(plant)).order
    assert (order.weight, order.most_lines, order.most_bytes) == (3.0, 7, 70)
    assert order.most_inputs == 9


async def test_the_fields_that_callers_may_not_set_go_with_the_order(plant: BatchPlant) -> None:
    closed = Framework(name=FRAMEWORK, reserved_fields=frozenset({"modality"}))
    plant.catalog = Catalog([replace(cluster(), frameworks={FRAMEWORK: closed})], [model()])
    reserved = (await asked(plant)).order.reserved
    assert "modality" in reserved
    assert set(reserved) == closed.reserved


async def test_an_order_names_the_paths_that_its_model_serves(plant: BatchPlant) -> None:
    routes = ("embeddings", "score", "rerank", "models")
    plant.catalog = Catalog([cluster()], [replace(model(), routes=routes)])
    assert (await asked(plant)).order.endpoints == ("/v1/embeddings", "/v1/rerank")


async def test_a_model_that_serves_no_path_of_batches_takes_none(plant: BatchPlant) -> None:
    plant.catalog = Catalog([cluster()], [replace(model(), routes=("audio/transcriptions",))])
    with pytest.raises(errors.BatchNotOffered, match="none of the paths"):
        await asked(plant)
    assert await nothing_began(plant)


async def test_an_order_has_its_persons_salt_where_callers_requests_get_one(
    plant: BatchPlant,
) -> None:
    assert (await asked(plant)).order.cache_salt is None
    salted = Framework(name=FRAMEWORK, cache_salt=True)
    plant.catalog = Catalog([replace(cluster(), frameworks={FRAMEWORK: salted})], [model()])
    assert (await asked(plant)).order.cache_salt == CacheSalts(b"k" * 32).of(ALICE)


async def test_one_person_has_so_many_active_ones_and_no_more(plant: BatchPlant) -> None:
    plant.catalog = Catalog([cluster(batches=offer(most_active=2))], [model()])
    first = await asked(plant)
    await asked(plant)
    with pytest.raises(errors.TooManyBatches, match="2 are allowed"):
        await asked(plant)
    await asked(plant, by=BOB)
    fence = await LeaseTable("test", term_s=0.0).acquire()
    assert fence is not None
    await BatchRows().save(batch_progress.refused(first, "no", now=1.0), fence)
    await asked(plant)


@pytest.mark.parametrize(
    ("reaches", "ready", "expected"),
    [
        ({"a": Reach.LINKED, "b": Reach.LINKED}, (), "a"),
        ({"a": Reach.AWAY, "b": Reach.LINKED}, (), "b"),
        ({"a": Reach.LINKED, "b": Reach.BY_TASK}, ("b",), "b"),
        ({"a": Reach.LINKED, "b": Reach.AWAY}, ("b",), "a"),
        ({"a": Reach.AWAY, "b": Reach.AWAY}, (), "a"),
    ],
)
async def test_the_best_place_is_one_that_can_be_reached_and_is_ready(
    plant: BatchPlant, reaches: dict[str, Reach], ready: tuple[str, ...], expected: str
) -> None:
    plant.catalog = Catalog([cluster("a"), cluster("b")], [model("a", "b")])
    plant.views = SitesKnown(reaches, ready)
    assert (await plant.created(lines())).cluster == expected


async def test_a_place_out_of_service_is_none(plant: BatchPlant) -> None:
    kept = model("a", "b")
    off = [Override(model=MODEL, cluster=name, disabled=True) for name in ("a", "b")]
    clusters = [cluster("a"), cluster("b")]
    plant.catalog = Catalog(clusters, [kept], overrides=off[:1])
    plant.views = SitesKnown({"a": Reach.LINKED, "b": Reach.LINKED})
    assert (await plant.created(lines())).cluster == "b"
    plant.catalog = Catalog(clusters, [kept], overrides=off)
    with pytest.raises(errors.ModelUnavailable, match=r"on 'a'\. The operators .* out of service"):
        await plant.created(lines())
    resting = [replace(one, maintenance="A new file system.") for one in clusters]
    plant.catalog = Catalog(resting, [kept])
    with pytest.raises(errors.ModelUnavailable, match=r"on 'a'.*maintenance: A new file system"):
        await plant.created(lines())


async def test_a_place_where_nobody_keeps_the_model_is_none(plant: BatchPlant) -> None:
    """What operators start there by hand takes no batches, ready or not."""
    kept = model("a", "b")
    by_hand = tuple(replace(place, upkeep=None) for place in kept.deployments)
    clusters = [cluster("a"), cluster("b")]
    half = replace(kept, deployments=(by_hand[0], kept.deployments[1]))
    plant.catalog = Catalog(clusters, [half])
    plant.views = SitesKnown({"a": Reach.LINKED, "b": Reach.LINKED}, ready=("a",))
    assert (await plant.created(lines())).cluster == "b"
    assert (await asked(plant)).cluster == "b"
    plant.catalog = Catalog(clusters, [replace(kept, deployments=by_hand)])
    with pytest.raises(errors.BatchNotOffered, match="nobody keeps it at a, b"):
        await asked(plant)


async def test_a_path_is_of_one_cluster(plant: BatchPlant) -> None:
    plant.catalog = Catalog([cluster("a"), cluster("b")], [model("a", "b")])
    with pytest.raises(errors.InvalidRequest, match="a, b") as caught:
        await asked(plant)
    assert caught.value.param == "input_file"
    made = await asked(plant, base=Base(cluster="b", framework=FRAMEWORK))
    assert made.cluster == "b"


async def test_a_path_without_a_model_is_refused(plant: BatchPlant) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await asked(plant, model=None)
    assert caught.value.param == "model"


async def test_of_an_upload_the_first_line_names_the_model(plant: BatchPlant) -> None:
    made = await plant.created(b"\xef\xbb\xbf" + lines(2).replace(b"\n", b"\r\n"))
    assert made.order.model == MODEL
    assert made.order.upload is not None
    assert made.fetches
    assert made.input_file_id


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "empty_file", None),
        (b"\n{}\n", "empty_line", 1),
        (b"{", "invalid_json", 1),
        (b"[" * 100_000, "invalid_json", 1),
        (b"[]\n", "invalid_json", 1),
        (b"\xff\n", "invalid_encoding", 1),
        (b"{}\n", "missing_body", 1),
        (b'{"body": {}}\n', "missing_model", 1),
        (b'{"body": {"model": "\\ud800"}}\n', "missing_model", 1),
        (b"x" * (MOST_LINE_BYTES + 1), "line_too_long", 1),
    ],
)
@pytest.mark.row("C-53")
async def test_an_input_that_names_no_model_has_failed_at_once(
    plant: BatchPlant, content: bytes, code: str, line: int | None
) -> None:
    made = await plant.created(content)
    assert (made.status, made.stage) == (BatchStatus.FAILED, Stage.DONE)
    assert [(one.code, one.line) for one in made.errors] == [(code, line)]
    assert await plant.batches.get(ALICE, made.id) == made
    # No site ever hears of it.
    assert await BatchRows().clusters() == []
    with pytest.raises(errors.BatchFailed):
        await plant.batches.result(ALICE, made.id)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_the_first_line_may_be_as_long_as_any(
    plant: BatchPlant, mark: bytes, end: bytes
) -> None:
    line = lines(1).strip().removesuffix(b"}").ljust(MOST_LINE_BYTES - 1) + b"}"
    made = await plant.created(mark + line + end)
    assert (made.status, made.order.model) == (BatchStatus.VALIDATING, MODEL)


async def test_what_a_batch_left_is_no_input(plant: BatchPlant) -> None:
    left = replace(await plant.uploaded(lines()), id=new_file_id(), purpose=Purpose.BATCH_OUTPUT)
    await FileRows().add(left, {left.owner}, plant.rules)
    with pytest.raises(errors.InvalidRequest, match="purpose 'batch'"):
        await plant.batches.create(ALICE, Base(), BatchRequest(input_file_id=left.id))


async def test_another_s_file_is_no_input(plant: BatchPlant) -> None:
    file = await plant.uploaded(lines(), by=BOB)
    with pytest.raises(errors.InvalidRequest, match="not yours") as caught:
        await plant.batches.create(ALICE, Base(), BatchRequest(input_file_id=file.id))
    assert caught.value.param == "input_file_id"


async def test_the_same_key_is_the_same_batch_also_once_its_file_is_gone(
    plant: BatchPlant,
) -> None:
    file = await plant.uploaded(lines())
    request = BatchRequest(input_file_id=file.id, idempotency_key="once")
    made = await asyncio.gather(*(plant.batches.create(ALICE, Base(), request) for _ in range(5)))
    assert len({one.id for one in made}) == 1
    await plant.files.delete(ALICE, file.id)
    assert (await plant.batches.create(ALICE, Base(), request)).id == made[0].id
    with pytest.raises(errors.IdempotencyKeyReused):
        await asked(plant, idempotency_key="once")
    assert (await asked(plant, by=BOB, idempotency_key="once")).id != made[0].id


async def test_nobody_sees_another_s_batch(plant: BatchPlant) -> None:
    made = await asked(plant)
    batches = plant.batches
    for act in (batches.get, batches.cancel, batches.result):
        with pytest.raises(errors.BatchNotFound):
            await act(BOB, made.id)
    assert (await batches.list(BOB, batch_paging())).items == ()
    assert [one.id for one in (await batches.list(ALICE, batch_paging())).items] == [made.id]


@pytest.mark.row("C-47")
async def test_a_result_names_its_files_and_its_metrics(plant: BatchPlant) -> None:
    made = await asked(plant)
    with pytest.raises(errors.BatchNotOver, match="pending"):
        await plant.batches.result(ALICE, made.id)
    said = report(
        made,
        BatchState.COMPLETED,
        completed=2,
        failed=1,
        output=SUM,
        results_path="/project/out/r.jsonl",
        progress_path="/project/out/p.json",
        working_s=4.0,
    )
    said_with_use = json.loads(json.dumps(said.to_wire()))
    said_with_use["use"] |= {"input_tokens": 30, "output_tokens": 10}
    fence = await LeaseTable("test", term_s=0.0).acquire()
    assert fence is not None
    over = batch_progress.taken(made, type(said).from_wire(said_with_use), now=2.0)
    assert await BatchRows().save(over, fence)
    result = await plant.batches.result(ALICE, made.id)
    assert (result.results_file, result.progress_file) == (
        "/project/out/r.jsonl",
        "/project/out/p.json",
    )
    metrics = result.metrics
    assert (metrics.total_tokens, metrics.throughput_tokens_per_second) == (40, 10.0)
    assert (metrics.num_responses, metrics.lines_processed) == (2, 3)
    assert metrics.response_time == 4.0


async def test_what_a_database_chokes_on_is_absent_like_anything_else(plant: BatchPlant) -> None:
    for strange in ("\0", "batch_\ud800", "x" * 5000, "batch_" + "g" * 32):
        for act in (plant.batches.get, plant.batches.cancel, plant.batches.result):
            with pytest.raises(errors.BatchNotFound):
                await act(ALICE, strange)
        for of_files in (plant.files.get, plant.files.delete, plant.files.content):
            with pytest.raises(errors.StoredFileNotFound):
                await of_files(ALICE, strange)
        with pytest.raises(errors.InvalidRequest):
            await plant.batches.create(ALICE, Base(), BatchRequest(input_file_id=strange))
    with pytest.raises(errors.InvalidRequest):
        batch_paging(after="\0")
