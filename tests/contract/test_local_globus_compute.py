"""The Compute service of the local Globus answers SDK and agents as Globus publishes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import requests
from globus_sdk import ComputeClientV2, ComputeClientV3
from pika.exceptions import ChannelClosedByBroker

from tests.support.compute_person import COMPUTE, NOBODY, SOURCE, Person, in_thread, refused
from tests.support.globus_shapes import assert_shaped_like, published
from tests.support.local_globus import LocalGlobus
from tests.support.scripted_agent import (
    Ear,
    ScriptedAgent,
    ScriptedWorker,
    registration,
)

DOMAIN_POLICY = "90110000-0000-4000-8000-000000000001"
PRIVATE_GROUP = "94090000-0000-4000-8000-000000000003"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def globus() -> AsyncIterator[LocalGlobus]:
    async with LocalGlobus() as globus:
        yield globus


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(globus: LocalGlobus) -> Person:
    return Person(globus, await globus.client_token("local", COMPUTE))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stranger(globus: LocalGlobus) -> Person:
    return Person(globus, await globus.client_token("second", COMPUTE))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bob(globus: LocalGlobus) -> Person:
    return Person(globus, await globus.token("bob@example.org", COMPUTE))


async def test_the_reads_of_an_endpoint_have_the_published_shape(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            published_queue = published(ComputeClientV3.register_endpoint)["result_queue_info"]
            assert_shaped_like(agent.registered["heartbeat_queue_info"], published_queue)
            assert set(agent.registered["command_queue_info"]) == {"connection_url", "queue"}
            endpoint = owner.v2(lambda c: c.get_endpoint(agent.id))
            assert_shaped_like(
                endpoint,
                published(ComputeClientV2.get_endpoint),
                may_be_null=("subscription_uuid", "description", "ip_address", "sdk_version"),
            )
            listed = owner.v2(lambda c: c.get_endpoints())
            assert_shaped_like(listed, published(ComputeClientV2.get_endpoints))
            allowed = owner.v3(lambda c: c.get_endpoint_allowlist(agent.id))
            assert allowed == {"endpoint_id": agent.id, "restricted": False, "functions": []}
            locked = owner.v3(lambda c: c.lock_endpoint(agent.id))
            assert_shaped_like(locked, published(ComputeClientV3.lock_endpoint))
            deleted = owner.v2(lambda c: c.delete_endpoint(agent.id))
            assert deleted == published(ComputeClientV2.delete_endpoint)
            assert refused(lambda: owner.v2(lambda c: c.get_endpoint(agent.id))) == (404, 4)

    await in_thread(work)


async def test_an_allow_list_has_the_published_shape(owner: Person) -> None:
    def work() -> None:
        with owner.agent(allowed_functions=[NOBODY]) as agent:
            allowed = owner.v3(lambda c: c.get_endpoint_allowlist(agent.id))
            assert_shaped_like(allowed, published(ComputeClientV3.get_endpoint_allowlist))
            assert allowed["restricted"] is True

    await in_thread(work)


async def test_an_agent_registers_again_under_its_id(owner: Person, stranger: Person) -> None:
    def work() -> None:
        known = "e0000000-0000-4000-8000-000000000001"
        again = owner.v3(lambda c: c.update_endpoint(known, registration()))
        assert again["endpoint_id"] == known
        owner.v3(lambda c: c.update_endpoint(known, registration(display_name="New name")))
        assert owner.v2(lambda c: c.get_endpoint(known))["display_name"] == "New name"
        steal = lambda: stranger.v3(lambda c: c.update_endpoint(known, registration()))  # noqa: E731 - two calls deep
        assert refused(steal) == (400, 11)
        assert refused(lambda: owner.v3(lambda c: c.update_endpoint("x", registration()))) == (
            400,
            22,
        )

    await in_thread(work)


async def test_an_agent_without_a_template_is_too_old(owner: Person) -> None:
    old = registration(metadata={"endpoint_version": "4.9.0"})

    assert await in_thread(
        lambda: refused(lambda: owner.v3(lambda c: c.register_endpoint(old)))
    ) == (400, 19)


async def test_versions_have_the_published_shape(owner: Person) -> None:
    def work() -> None:
        everything = owner.v2(lambda c: c.get_version(service="all"))
        assert_shaped_like(everything, published(ComputeClientV2.get_version, "all"))
        url = f"{owner.globus.url}/v2/version"
        assert isinstance(requests.get(url, timeout=10).json(), str)

    await in_thread(work)


async def test_functions_have_the_published_shape_and_belong_to_somebody(
    owner: Person, stranger: Person, bob: Person
) -> None:
    def work() -> None:
        meta = {"python_version": "3.11.7", "sdk_version": "4.19.0"}
        body = SOURCE | {"description": "One", "meta": meta}
        answer = owner.v3(lambda c: c.register_function(body))
        assert_shaped_like(answer, published(ComputeClientV3.register_function))
        own = answer["function_uuid"]
        assert_shaped_like(
            owner.v2(lambda c: c.get_function(own)), published(ComputeClientV2.get_function)
        )
        public, shared = owner.register(public=True), owner.register(group=PRIVATE_GROUP)
        assert refused(lambda: stranger.v2(lambda c: c.get_function(own))) == (403, 8)
        assert stranger.v2(lambda c: c.get_function(public))["function_uuid"] == public
        assert refused(lambda: stranger.v2(lambda c: c.get_function(shared))) == (403, 8)
        assert bob.v2(lambda c: c.get_function(shared))["function_uuid"] == shared
        assert refused(lambda: stranger.v2(lambda c: c.delete_function(public))) == (403, 8)
        deleted = owner.v2(lambda c: c.delete_function(public))
        assert deleted == published(ComputeClientV2.delete_function)
        assert refused(lambda: owner.v2(lambda c: c.get_function(public))) == (404, 3)

    await in_thread(work)


async def test_a_task_goes_to_a_started_worker_and_its_result_comes_back(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            function_id = owner.register()
            submitted = owner.submit(
                agent.id,
                function_id,
                user_endpoint_config={"workers": 2},
                user_runtime={"python_version": "3.11.7"},
                result_serializers=["globus_compute_sdk.serialize.JSONData"],
                resource_specification={"num_nodes": 1},
            )
            assert_shaped_like(submitted, published(ComputeClientV3.submit))
            worker = agent.start_worker()
            check_start_command(worker, agent)
            headers, task = worker.next_task()
            assert submitted["tasks"] == {function_id: [str(task.task_id)]}
            assert headers["task_uuid"] == str(task.task_id)
            assert headers["function_uuid"] == function_id
            assert headers["result_serializers"] == ["globus_compute_sdk.serialize.JSONData"]
            assert json.loads(headers["resource_specification"]) == {"num_nodes": 1}
            source = f"st\nf:{SOURCE['function_code']}"
            assert task.task_buffer == f"{len(source)}\n{source}2\n11\n"
            assert owner.task(submitted) == {"task_id": str(task.task_id), "status": "pending"}

            worker.finish(task.task_id, "11\n1")
            with owner.results(submitted) as results:
                assert results.result().data == "11\n1"
            assert_shaped_like(owner.task(submitted), published(ComputeClientV2.get_task))
            many = owner.v2(lambda c: c.get_task_batch([str(task.task_id), NOBODY]))
            assert_shaped_like(many, published(ComputeClientV2.get_task_batch))
            group = owner.v2(lambda c: c.get_task_group(submitted["task_group_id"]))
            assert_shaped_like(group, published(ComputeClientV2.get_task_group))

    await in_thread(work)


def check_start_command(worker: ScriptedWorker, agent: ScriptedAgent) -> None:
    """Fail unless the command names the worker and the identity to map from."""
    command = worker.command
    assert command["command"] == "cmd_start_endpoint"
    assert command["kwargs"]["name"].startswith(f"uep.{agent.id}.")
    assert command["kwargs"]["user_opts"] == {"workers": 2}
    assert command["kwargs"]["user_runtime"] == {"python_version": "3.11.7"}
    identities = [identity["sub"] for identity in command["globus_identity_set"]]
    assert identities == [command["globus_effective_identity"]]
    assert command["globus_username"] == f"{identities[0]}@clients.auth.globus.org"


async def test_the_place_of_results_has_the_published_shape(owner: Person) -> None:
    where = await in_thread(lambda: owner.v2(lambda c: c.get_result_amqp_url()))

    assert_shaped_like(where, published(ComputeClientV2.get_result_amqp_url))


async def test_a_failed_task_tells_the_exception(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            worker.finish(worker.next_task()[1].task_id, "Traceback", error="ValueError")
            with owner.results(submitted) as results:
                assert results.result().is_error
            view = owner.task(submitted)
            assert (view["status"], view["exception"]) == ("failed", "Traceback")

    await in_thread(work)


async def test_each_configuration_has_a_worker_of_its_own(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            function_id = owner.register()
            for number in (1, 2, 1):
                owner.submit(agent.id, function_id, user_endpoint_config={"workers": number})
            first, second = agent.next_command(), agent.next_command()
            options = [command["kwargs"]["user_opts"] for command in (first, second)]
            assert options == [{"workers": 1}, {"workers": 2}]
            assert first["kwargs"]["name"] != second["kwargs"]["name"]

    await in_thread(work)


async def test_the_status_follows_the_heartbeats(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:

            def status() -> Any:
                return owner.v2(lambda c: c.get_endpoint_status(agent.id))

            assert status() == {"status": "offline", "details": {}}
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            load = {"total_workers": 1, "idle_workers": 0, "pending_tasks": 0}
            worker.beat(**load, outstanding_tasks=0, managers=1)
            agent.beat()
            # Heartbeats and results are worked off in their order.
            worker.finish(worker.next_task()[1].task_id, "11\n1")
            with owner.results(submitted) as results:
                results.next()
            assert_shaped_like(status(), published(ComputeClientV2.get_endpoint_status))
            assert status()["status"] == "online"
            agent.beat(0)
            another = owner.submit(agent.id, owner.register())
            worker.finish(worker.next_task()[1].task_id, "11\n1")
            with owner.results(another) as results:
                results.next()
            assert status() == {"status": "offline", "details": {}}

    await in_thread(work)


async def test_a_worker_that_cannot_start_fails_what_waits_for_it(owner: Person) -> None:
    def work() -> None:
        with owner.agent() as agent:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            worker.beat(error="no such module: vllm")
            with owner.results(submitted) as results:
                message = results.result()
            assert message.error_details.user_message == "no such module: vllm"
            assert owner.task(submitted)["exception"] == "no such module: vllm"

    await in_thread(work)


async def test_a_worker_that_left_is_started_again_for_what_waits() -> None:
    async with LocalGlobus() as globus:
        owner = Person(globus, await globus.client_token("local", COMPUTE))
        agent = await in_thread(owner.agent)
        first = await in_thread(lambda: owner.submit(agent.id, owner.register()))
        command = await in_thread(agent.next_command)
        await globus.advance_clock(31)
        await in_thread(agent.beat)
        again = await in_thread(agent.next_command)
        await in_thread(agent.close)

    assert first["endpoint_id"] == agent.id
    assert again["kwargs"]["name"] == command["kwargs"]["name"]


async def test_an_endpoint_serves_its_owner_or_everybody_who_meets_its_policy(
    owner: Person, stranger: Person, bob: Person
) -> None:
    def work() -> None:
        function_id = owner.register(public=True)
        with owner.agent() as private, owner.agent(multi_user=True, public=True) as common:
            assert refused(lambda: bob.submit(private.id, function_id)) == (403, 9)
            assert bob.submit(common.id, function_id)["endpoint_id"] == common.id
            seen = [e["uuid"] for e in bob.v2(lambda c: c.get_endpoints(role="any"))]
            assert common.id in seen
            assert private.id not in seen
            assert refused(lambda: bob.v2(lambda c: c.delete_endpoint(common.id))) == (403, 9)
        policy = {"multi_user": True, "authentication_policy": DOMAIN_POLICY}
        with owner.agent(**policy) as guarded:
            assert bob.submit(guarded.id, function_id)["endpoint_id"] == guarded.id
            assert refused(lambda: stranger.submit(guarded.id, function_id)) == (403, 9)

    await in_thread(work)


async def test_a_submission_is_checked(owner: Person, bob: Person) -> None:
    def work() -> None:
        function_id, foreign = owner.register(), bob.register()
        with owner.agent(allowed_functions=[function_id, foreign]) as agent:
            submitted = owner.submit(agent.id, function_id)
            group = submitted["task_group_id"]
            other = owner.register()
            assert refused(lambda: owner.submit(agent.id, other)) == (403, 10)
            assert refused(lambda: owner.submit(agent.id, foreign)) == (403, 8)
            assert refused(lambda: owner.submit(agent.id, NOBODY)) == (404, 3)
            assert refused(lambda: owner.submit(NOBODY, function_id)) == (404, 4)
            bodies: list[dict[str, Any]] = [
                {"tasks": {}},
                {"tasks": {function_id: "text"}},
                {"tasks": [1]},
            ]
            for body in bodies:
                call = lambda b=body: owner.v3(lambda c: c.submit(agent.id, b))  # noqa: E731 - two calls deep
                assert refused(call) == (400, 17)
            bad_group = {"task_group_id": "tg.*"}
            assert refused(lambda: owner.submit(agent.id, function_id, **bad_group)) == (400, 22)
        with bob.agent() as own:
            stolen = {"task_group_id": group}
            assert refused(lambda: bob.submit(own.id, foreign, **stolen)) == (403, 21)
        assert refused(lambda: bob.v2(lambda c: c.get_task_group(group))) == (403, 21)
        assert refused(lambda: bob.task(submitted)) == (404, 6)

    await in_thread(work)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("openid", (401, 1)), ("urn:globus:auth:scope:funcx_service:nothing", (403, 24))],
)
async def test_a_token_for_something_else_is_refused(
    globus: LocalGlobus, scope: str, expected: tuple[int, int]
) -> None:
    person = Person(globus, await globus.token("alice@example.org", scope))

    assert (
        await in_thread(lambda: refused(lambda: person.v2(lambda c: c.get_endpoints()))) == expected
    )


async def test_broker_credentials_open_only_what_is_ones_own(
    owner: Person, stranger: Person
) -> None:
    def work() -> None:
        with owner.agent() as agent, stranger.agent() as other:
            submitted = owner.submit(agent.id, owner.register())
            where = stranger.v2(lambda c: c.get_result_amqp_url())["connection_url"]
            queue = owner.v2(lambda c: c.get_result_amqp_url())["queue_prefix"]
            forbidden = [
                (where, queue + submitted["task_group_id"]),
                (where, "service.results"),
                (other.registered["command_queue_info"]["connection_url"], f"{agent.id}.commands"),
            ]
            for url, name in forbidden:
                with (
                    Ear(url, name) as ear,
                    pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"),
                ):
                    ear.next()
            other.beat()

    await in_thread(work)


async def test_a_worker_cannot_answer_for_another(owner: Person, stranger: Person) -> None:
    def work() -> None:
        with owner.agent() as agent, stranger.agent() as other:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            task_id = worker.next_task()[1].task_id
            stranger.submit(other.id, stranger.register())
            impostor = other.start_worker()
            impostor.finish(task_id, "11\n666")
            worker.finish(task_id, "11\n1")
            with owner.results(submitted) as results:
                assert results.result().data == "11\n1"

    await in_thread(work)


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"junk",
        b"\x01{}",
        b'\x01{"message_type": "result", "data": {"task_id": 7}}',
        (
            b'\x01{"message_type": "ep_status_report", "data": {"endpoint_id": "%s",'
            b' "global_state": {"heartbeat_period": "often"}, "task_statuses": {}}}'
        ),
        b"\x01" + b"[" * 100_000,
    ],
)
async def test_junk_from_an_endpoint_disturbs_nobody(owner: Person, junk: bytes) -> None:
    def work() -> None:
        with owner.agent() as agent:
            submitted = owner.submit(agent.id, owner.register())
            worker = agent.start_worker()
            task_id = worker.next_task()[1].task_id
            worker.say(junk.replace(b"%s", worker.id.encode()))
            worker.finish(NOBODY, "11\n0")
            worker.finish(task_id, "11\n1")
            worker.finish(task_id, "11\n2")
            with owner.results(submitted) as results:
                assert results.result().data == "11\n1"
                left = results.channel.queue_declare(results.queue, passive=True)
            assert left.method.message_count == 0
            assert owner.task(submitted)["result"] == "11\n1"

    await in_thread(work)


async def test_a_queued_task_and_a_result_survive_a_restart() -> None:
    async with LocalGlobus() as globus:
        owner = Person(globus, await globus.client_token("local", COMPUTE))
        agent = await in_thread(owner.agent)
        function_id = await in_thread(owner.register)
        submitted = await in_thread(lambda: owner.submit(agent.id, function_id))
        command = await in_thread(agent.next_command)
        agent.close()

        await globus.stop()
        await globus.start()
        worker = await in_thread(lambda: ScriptedWorker(command))
        task_id = (await in_thread(worker.next_task))[1].task_id
        await in_thread(lambda: worker.finish(task_id, "11\n1"))
        await in_thread(worker.close)
        await globus.stop()
        await globus.start()

        def look() -> tuple[str, str]:
            with owner.results(submitted) as results:
                message = results.result()
            return message.data, owner.task(submitted)["result"]

        assert await in_thread(look) == ("11\n1", "11\n1")
