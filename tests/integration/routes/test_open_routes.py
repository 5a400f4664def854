from __future__ import annotations

import pytest


@pytest.mark.parametrize("prefix", ["", "/resource_server"])
async def test_health_and_readiness_are_open(service, prefix):
    async with service.client.get(f"{prefix}/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with service.client.get(f"{prefix}/ready") as response:
        assert response.status == 200
        assert await response.json() == {
            "status": "ok",
            "checks": {"database": True, "globus_auth": True},
        }


@pytest.mark.parametrize("prefix", ["", "/resource_server"])
async def test_the_documentation_page_needs_nothing_from_outside(service, prefix):
    async with service.client.get(f"{prefix}/docs") as response:
        page = await response.text()
        assert response.status == 200
    assert "https://" not in page
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-init.js"):
        assert f"/static/ninja/{name}" in page
        async with service.client.get(f"/static/ninja/{name}") as response:
            assert response.status == 200


async def test_the_schema_describes_the_openai_routes(service):
    async with service.client.get("/openapi.json") as response:
        schema = await response.json()
    assert "/resource_server/{cluster}/{framework}/v1/chat/completions" in schema["paths"]


async def test_files_outside_the_documentation_are_not_served(service):
    async with service.client.get("/static/..%2f..%2fsettings.py") as response:
        assert response.status == 404


async def test_a_machine_is_probed_by_its_address_and_serves_under_its_names_alone(service):
    by_address = {"Host": "192.0.2.1:8000"}
    for path in ("/health", "/ready"):
        async with service.client.get(path, headers=by_address) as response:
            assert response.status == 200
    for path, headers in (
        ("/docs", by_address),
        ("/health", {"Host": "elsewhere.example"}),
        ("/health", by_address | {"X-Forwarded-Host": "elsewhere.example"}),
    ):
        async with service.client.get(path, headers=headers) as response:
            assert response.status == 400


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/resource_server"])
async def test_a_url_that_leads_nowhere_says_where_to_look(service, path):
    async with service.client.get(path, headers=service.headers("alice")) as response:
        assert response.status == 404
        message = (await response.json())["error"]["message"]
    assert message == f"There is no such URL: GET {path}. /docs lists those there are."
