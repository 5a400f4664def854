from __future__ import annotations

import pytest


@pytest.mark.parametrize("prefix", ["", "/resource_server"])
async def test_health_and_readiness_are_open(service, prefix):
    async with service.client.get(f"{prefix}/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with service.client.get(f"{prefix}/ready") as response:
        assert response.status == 200
        assert (await response.json())["checks"] == {"database": True, "globus_auth": True}


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
