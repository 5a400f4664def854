"""The local Globus enforces the limits that Globus Compute documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import globus_sdk
import pytest
import requests
from globus_sdk import ComputeClientV2

from tests.support.compute_person import COMPUTE, SOURCE, Person, in_thread, refused
from tests.support.local_globus import LocalGlobus

_TEN_MEGABYTES = 10_000_000


@pytest.fixture
async def owner() -> AsyncIterator[Person]:
    async with LocalGlobus(limits=True) as globus:
        yield Person(globus, await globus.client_token("local", COMPUTE))


async def test_twenty_requests_in_ten_seconds_are_the_most(owner: Person) -> None:
    other = Person(owner.globus, await owner.globus.client_token("second", COMPUTE))

    def work() -> Any:
        for _ in range(20):
            owner.v2(ComputeClientV2.get_endpoints)
        with pytest.raises(globus_sdk.GlobusAPIError) as error:
            owner.v2(ComputeClientV2.get_endpoints)
        other.v2(ComputeClientV2.get_endpoints)
        return error.value

    error = await in_thread(work)
    assert error.http_status == 429
    assert 1 <= int(error.headers["Retry-After"]) <= 10
    assert error.raw_json["http_status_code"] == 429


async def test_a_submission_over_ten_megabytes_is_too_large(owner: Person) -> None:
    def work() -> tuple[int, int]:
        with owner.agent() as agent:
            function_id = owner.register()
            room = _TEN_MEGABYTES - 200
            owner.submit(agent.id, function_id, tasks={function_id: ["x" * room]})
            payload = {"tasks": {function_id: ["x" * _TEN_MEGABYTES]}}
            return refused(lambda: owner.submit(agent.id, function_id, **payload))

    assert await in_thread(work) == (413, 0)


async def test_a_submission_that_hides_its_length_is_cut_off(owner: Person) -> None:
    def work() -> int:
        body = (b"x" * 1_000_000 for _ in range(12))
        url = f"{owner.globus.url}/v3/functions"
        headers = {"authorization": f"Bearer {owner.token}"}
        return requests.post(url, data=body, headers=headers, timeout=10).status_code

    assert await in_thread(work) == 413


async def test_a_function_over_ten_megabytes_is_too_large(owner: Person) -> None:
    code = {"function_code": "x" * _TEN_MEGABYTES}

    status = await in_thread(
        lambda: refused(lambda: owner.v3(lambda c: c.register_function(SOURCE | code)))
    )
    assert status == (413, 0)


async def test_a_result_over_ten_megabytes_is_replaced_by_an_error(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            worker.finish(worker.next_task()[1].task_id, "x" * _TEN_MEGABYTES)
            with owner.results(submitted) as results:
                message = results.result()
            assert "exceeded current limit of 10000000B" in message.error_details.user_message
            assert owner.task(submitted)["status"] == "failed"

    await in_thread(work)


async def test_a_result_is_kept_for_half_an_hour(owner: Person) -> None:
    def work() -> dict[str, Any]:
        with owner.agent() as agent:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            worker.finish(worker.next_task()[1].task_id, "11\n1")
            with owner.results(submitted) as results:
                results.next()
            return submitted

    submitted = await in_thread(work)
    await owner.globus.advance_clock(29 * 60)
    assert (await in_thread(lambda: owner.task(submitted)))["status"] == "success"
    await owner.globus.advance_clock(61)
    assert await in_thread(lambda: refused(lambda: owner.task(submitted))) == (404, 6)
