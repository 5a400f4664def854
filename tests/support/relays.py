"""A relay beside an engine double, in the test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from compute_functions.engine_client import Engine
from compute_functions.engine_config import LoadMetrics
from compute_functions.relay.enrolment import Enrolment
from compute_functions.relay.relay import Relay, Served
from compute_functions.relay.times import Times

KEY = "the-engine's-key"
PATHS = {"/v1/chat/completions": "/v1/chat/completions", "/v1/classify": "/classify"}
LOAD = LoadMetrics(
    path="/metrics", running="vllm:num_requests_running", waiting="vllm:num_requests_waiting"
)
#: No test waits for what a relay would wait for in service.
QUICK = Times(
    dial_s=10.0,
    first_pause_s=0.01,
    longest_pause_s=0.05,
    refused_pause_s=0.05,
    close_s=0.5,
    last_words_s=0.05,
    load_every_s=0.02,
    restart_pause_s=0.05,
)


class CredentialsThatCount:
    """Gives out `credential-1`, `credential-2` and so on."""

    def __init__(self) -> None:
        self.given = 0

    async def new(self) -> str:
        self.given += 1
        return f"credential-{self.given}"


@asynccontextmanager
async def relaying(
    engine: str | Path, *hubs: str, ca_file: str = "", **changes: Any
) -> AsyncIterator[Relay]:
    """Run a relay from an engine's endpoint to hubs; `changes` are of its times."""
    relay = Relay(
        Served(
            instance="instance",
            engine=Engine(endpoint=str(engine), api_key=KEY),
            paths=PATHS,
            load=LOAD,
        ),
        enrolment=Enrolment(cluster="sophia", hubs=hubs, ca_file=ca_file),
        credentials=CredentialsThatCount(),
        times=replace(QUICK, **changes),
    )
    relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
