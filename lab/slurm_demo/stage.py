"""What the demo consists of: two sites, a hot model, a cold one, and one that counts slowly."""

from __future__ import annotations

from dataclasses import replace

from lab.slurm_sites.model import KeptModel
from lab.slurm_sites.plan import Plan, SitePlan

ASPEN, BIRCH = "aspen", "birch"
HOT, COLD, COUNTER = "hotnode/tiny-chat", "hotnode/tiny-chat-on-demand", "hotnode/counter"
#: The counter says so many words, one every so many seconds: longer than its rollover takes.
WORDS, EVERY_S = 60, 0.5
#: Whose members may send batches, `inference-users`: all people of the demo but Eve.
_BATCHES_FOR = ("94090000-0000-4000-8000-000000000001",)
_LOAD_S = 2.0
_KEPT = {"gpus": 1, "min": 1, "max": 1, "walltime": "12:00:00", "walltime_ratio": 0.9}
_ON_DEMAND = {"gpus": 1, "min": 0, "max": 1, "walltime": "01:00:00", "idle_timeout": "00:02:00"}
#: Several engines share a small machine, and may be late (seconds).
_LIMITS = {"heartbeat_s": 2}


def plan() -> Plan:
    """Return the demo's sites and models."""
    return Plan(
        # One GPU for each node: every instance has a node of its own.
        sites=(
            SitePlan(name=ASPEN, nodes=2, gpus=1, limits=_LIMITS, batches_for=_BATCHES_FOR),
            SitePlan(name=BIRCH, nodes=4, gpus=1, limits=_LIMITS, batches_for=_BATCHES_FOR),
        ),
        models=(
            _for_batches(KeptModel.tiny_chat(HOT, [ASPEN], _KEPT)),
            _for_batches(KeptModel.tiny_chat(COLD, [BIRCH], _ON_DEMAND)),
            KeptModel.small(COUNTER, [BIRCH], _KEPT, load_s=_LOAD_S),
        ),
    )


def _for_batches(model: KeptModel) -> KeptModel:
    return replace(model, said={**model.said, "flags": ["B"]})
