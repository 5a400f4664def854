"""What the demo asks: which jobs run, and one question with the unmodified openai SDK."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import openai

QUESTION = "What is the capital of Norway?"
EXPECTED = "Oslo"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer's text, and what its headers say. `hops` are milliseconds by place."""

    text: str
    model: str
    tokens: int
    request_id: str
    task_id: str
    transport: str
    hops: dict[str, float]

    @property
    def right(self) -> bool:
        """Whether the model said what it was taught, and a Globus task carried it."""
        return EXPECTED in self.text and self.transport == "task" and bool(self.task_id)


def ask(base_url: str, token: str, model: str) -> Answer:
    """Ask the question and return the answer."""
    with openai.OpenAI(base_url=base_url, api_key=token, timeout=TIMEOUT_S) as client:
        response = client.chat.completions.with_raw_response.create(
            model=model,
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=40,
        )
    completion = response.parse()
    return Answer(
        text=completion.choices[0].message.content or "",
        model=completion.model,
        tokens=completion.usage.total_tokens if completion.usage else 0,
        request_id=response.headers.get("x-request-id", ""),
        task_id=response.headers.get("x-hotnode-globus-task-id", ""),
        transport=response.headers.get("x-hotnode-transport", ""),
        hops=read_server_timing(response.headers.get("server-timing", "")),
    )


async def jobs(url: str, token: str) -> str:
    """Return what runs on the cluster, in words. It is the endpoint's first task, so it is slow."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
        session.get(
            f"{url}/resource_server/local/jobs", headers={"Authorization": f"Bearer {token}"}
        ) as response,
    ):
        response.raise_for_status()
        running = (await response.json())["running"]
    return ", ".join(f"{job['Models']} is {job['Model State']}" for job in running) or "none"


def read_server_timing(header: str) -> dict[str, float]:
    """Return milliseconds by name from a `Server-Timing` header."""
    parts = (part.split(";dur=") for part in header.split(", ") if ";dur=" in part)
    return {name: float(duration) for name, duration in parts}
