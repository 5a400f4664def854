"""The whole service on this machine, with people who have logged in, for acceptance tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp
import openai
import yaml

from lab.engine import CONFIGS, Model
from lab.gateway import BY_TASKS, CLUSTER
from lab.service import Service
from tests.support.eventually import eventually_so

ALICE, BOB, EVE = "alice@example.org", "bob@example.org", "eve@evil.example"
PRIVATE_GROUP = "94090000-0000-4000-8000-000000000003"
#: Described in the catalog, started nowhere.
ABSENT_MODEL = "hotnode/absent"
PRIVATE_MODEL = "hotnode/private"
#: The same site, as if its nodes could not open a connection to the gateway.
NO_EGRESS = "no-egress"
#: The catalog's own.
TINY = [
    model
    for file in (CONFIGS / "models").glob("*.yaml")
    if (model := Model.named(file.stem)).framework == "vllm"
]
#: Their ids, and the further names that their files give them.
TINY_NAMES = {model.id for model in TINY}.union(
    *(yaml.safe_load(model.file.read_text()).get("aliases", {}) for model in TINY)
)
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The whole service, and people's tokens. What is not told otherwise goes by Globus Compute."""

    service: Service
    tokens: dict[str, str]

    @property
    def chat(self) -> str:
        return f"{self.service.tasks_url}/chat/completions"

    def base_url(self, cluster: str = BY_TASKS) -> str:
        return f"{self.service.gateway.url}/resource_server/{cluster}/vllm/v1"

    def openai(self, person: str = ALICE, *, cluster: str = BY_TASKS) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.base_url(cluster),
            api_key=self.tokens[person],
            max_retries=0,
            timeout=TIMEOUT_S,
        )

    def session(self, person: str = ALICE) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.tokens[person]}"},
            timeout=aiohttp.ClientTimeout(TIMEOUT_S),
        )

    async def until_listed(self, person: str, names: set[str]) -> None:
        """Wait until the running gateway has taken the catalog's files up."""
        async with self.openai(person) as client:

            async def listed() -> bool:
                return {entry.id async for entry in await client.models.list()} == names

            await eventually_so(listed, seconds=30, every_s=0.1)


def model_file(name: str, *lines: str) -> str:
    """Return the file of a model that the lab's clusters serve."""
    places = ", ".join(f"{{cluster: {at}, framework: vllm}}" for at in (CLUSTER, BY_TASKS))
    return "\n".join([f"id: {name}", f"deployments: [{places}]", *lines, ""])


def write_no_egress(catalog: Path) -> None:
    """Add a cluster whose site cannot push streams, and the tiny chat model there."""
    site = yaml.safe_load((catalog / "sites" / f"{BY_TASKS}.yaml").read_text())
    site["cluster"] = NO_EGRESS
    site["globus_compute"]["push"] = False
    (catalog / "sites" / f"{NO_EGRESS}.yaml").write_text(yaml.safe_dump(site))
    file = catalog / "models" / "tiny-chat.yaml"
    model = yaml.safe_load(file.read_text())
    model["deployments"].append({"cluster": NO_EGRESS, "framework": "vllm"})
    file.write_text(yaml.safe_dump(model))
