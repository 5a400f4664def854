"""Batches that have instances of their own go there, and nobody else does."""

from __future__ import annotations

from dataclasses import replace

from compute_functions.batch_keeper.scene import Claim, Host, Scene, Standing
from compute_functions.batch_keeper.shares import Shares
from compute_functions.batch_keeper.turns import decide
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool.agent_state import AgentState
from compute_functions.contract import FOR_BATCHES, ModelDemand
from compute_functions.reconciler.model_key import ModelKey

SHARED = ModelKey("m", "vllm")
OWN = ModelKey("m", "vllm", FOR_BATCHES)
NOW = 1_000.0


def claim(batch: str, key: ModelKey, instance: str | None = None) -> Claim:
    state = AgentState(fence=1, instance=instance, epoch=1 if instance else 0, since=NOW - 5)
    return Claim(batch=batch, key=key, share_of="ann", created_at=1.0, state=state)


def host(name: str, key: ModelKey, *runs: str) -> Host:
    found = {batch: Run(batch=batch, epoch=1, pid=1) for batch in runs}
    return Host(instance=name, key=key, standing=Standing.READY, runs=found)


def scene(*claims: Claim, hosts: tuple[Host, ...]) -> Scene:
    return Scene(
        now=NOW,
        claims=claims,
        hosts={one.instance: one for one in hosts},
        shares=Shares(),
        turns=1,
        quantum_s=600.0,
        waits={OWN: "its model does not run: no GPUs are free"},
    )


def test_each_goes_where_its_kind_is_done() -> None:
    found = decide(
        scene(
            claim("a", SHARED),
            claim("b", OWN),
            hosts=(host("callers", SHARED), host("alone", OWN)),
        )
    )
    assert {batch: state.instance for batch, state in found.states.items()} == {
        "a": "callers",
        "b": "alone",
    }


def test_one_waits_for_its_own_beside_a_free_one_for_callers() -> None:
    found = decide(scene(claim("b", OWN), hosts=(host("callers", SHARED),)))
    assert found.states["b"].instance is None
    assert found.states["b"].reason == "its model does not run: no GPUs are free"
    assert found.demand == (
        ModelDemand(model="m", framework="vllm", purpose=FOR_BATCHES, waiting=1),
    )


def test_one_that_runs_goes_on_there_when_the_model_s_file_is_changed() -> None:
    """And it is there that it is wanted: nothing is started beside it."""
    found = decide(scene(claim("b", OWN, "callers"), hosts=(host("callers", SHARED, "b"),)))
    assert found.states["b"].instance == "callers"
    assert found.demand == (ModelDemand(model="m", framework="vllm", running=1),)
    gone = decide(replace(scene(claim("b", OWN, "callers"), hosts=(host("alone", OWN),))))
    assert gone.states["b"].instance == "alone"
