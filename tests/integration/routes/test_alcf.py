from __future__ import annotations

import pytest


async def get(service, path: str, person: str = "alice"):
    async with service.client.get(path, headers=service.headers(person)) as response:
        return response.status, await response.json()


@pytest.mark.row("C-28")
async def test_list_endpoints_shows_what_the_caller_may_use(service):
    status, found = await get(service, "/resource_server/list-endpoints")
    assert status == 200
    assert found == {
        "clusters": {
            "domestic": {
                "base_url": "/resource_server/domestic",
                "frameworks": {
                    "vllm": {
                        "base_url": "/resource_server/domestic/vllm/v1",
                        "models": ["open/chat"],
                        "endpoints": ["/v1/chat/completions", "/v1/completions"],
                    }
                },
            },
            "local": {
                "base_url": "/resource_server/local",
                "frameworks": {
                    "vllm": {
                        "base_url": "/resource_server/local/vllm/v1",
                        "models": ["open/chat"],
                        "endpoints": ["/v1/chat/completions", "/v1/completions"],
                    }
                },
            },
        }
    }


@pytest.mark.row("C-28")
async def test_list_endpoints_shows_a_member_more(service):
    _, found = await get(service, "/resource_server/list-endpoints", "bob")
    assert set(found["clusters"]) == {"closed", "domestic", "local"}
    models = found["clusters"]["local"]["frameworks"]["vllm"]["models"]
    assert models == ["open/chat", "private/chat"]


@pytest.mark.row("C-27")
async def test_jobs_have_alcf_s_lists_and_keys(service):
    status, found = await get(service, "/resource_server/local/jobs")
    assert status == 200
    assert set(found) == {
        *("running", "queued", "stopped", "others"),
        *("private_batch_running", "private_batch_queued", "cluster_status"),
    }
    [job] = found["running"]
    assert job["Models"] == "open/chat"
    assert job["Framework"] == "vllm"
    assert job["Cluster"] == "local"
    assert job["Model Status"] == "ready"
    assert job["Model State"] == "Live"
    assert job["Host Name"] == "node1"
    # The stopped ones of batches stand there, too: these have no list of their own.
    assert [len(found[name]) for name in ("queued", "stopped", "others")] == [1, 3, 0]


@pytest.mark.row("C-27", "C-45")
async def test_instances_for_batches_alone_stand_in_lists_of_their_own(service):
    _, found = await get(service, "/resource_server/local/jobs")
    states = [job["Model Status"] for job in found["private_batch_running"]]
    assert sorted(states) == ["draining", "ready", "starting"]
    assert [job["Model Status"] for job in found["private_batch_queued"]] == ["queued"]
    assert {job["Models"] for job in found["private_batch_running"]} == {"open/chat"}
    _, members = await get(service, "/resource_server/local/jobs", "bob")
    private = [job for job in members["private_batch_running"] if job["Models"] == "private/chat"]
    assert len(private) == 1


@pytest.mark.row("C-27")
async def test_jobs_of_private_models_are_for_members(service):
    _, found = await get(service, "/resource_server/local/jobs", "bob")
    states = {(job["Models"], job["Model State"]) for job in found["running"]}
    assert states == {("open/chat", "Live"), ("private/chat", "Starting")}


@pytest.mark.row("C-27")
@pytest.mark.parametrize(("cluster", "status"), [("absent", 404), ("closed", 403)])
async def test_jobs_of_a_cluster_that_is_not_for_the_caller(service, cluster, status):
    got, found = await get(service, f"/resource_server/{cluster}/jobs")
    assert got == status
    assert set(found["error"]) == {"message", "type", "param", "code"}
