"""Batches at a site in simulated time: instances, runners, and whatever happens to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from compute_functions.batch_keeper.scene import Claim, Host, Scene, Standing
from compute_functions.batch_keeper.shares import Recorded, Shares
from compute_functions.batch_keeper.turns import Decision, decide
from compute_functions.batch_keeper.working import Run
from compute_functions.batch_spool.agent_state import DESK, AgentState
from compute_functions.reconciler.model_key import ModelKey

KEY = ModelKey("model", "vllm")
OTHER = ModelKey("other", "vllm")
#: A runner begins so long after its instance was told, and takes so long to leave (seconds).
BEGINS_S, LEAVES_S = 1.0, 3.0
#: A runner without an engine has looked an input through so long after it began (seconds).
EXAMINES_S = 7.0


@dataclass(slots=True, kw_only=True)
class SimulatedBatch:
    """One batch of `lines`; it is over when all are recorded, or when it is given up."""

    batch: str
    owner: str
    lines: int
    weight: float = 1.0
    key: ModelKey = KEY
    created_at: float = 0.0
    state: AgentState = field(default_factory=lambda: AgentState(fence=0))
    done: float = 0.0
    cancelled: bool = False
    unexamined: bool = False
    ended: str = ""

    @property
    def recorded(self) -> int:
        return int(self.done)

    def claim(self) -> Claim:
        return Claim(
            batch=self.batch,
            key=self.key,
            share_of=self.owner,
            created_at=self.created_at,
            state=self.state,
            ends=self.cancelled or bool(self.state.given_up),
            unexamined=self.unexamined and not self.state.left_to_engine,
            recorded=self.recorded,
        )


@dataclass(slots=True)
class _Runner:
    run: Run
    begins_at: float
    leaves_at: float | None = None


@dataclass(slots=True, kw_only=True)
class SimulatedInstance:
    """One instance; its runners work at `rate` lines a second, together."""

    name: str
    key: ModelKey | None = KEY
    rate: float = 10.0
    standing: Standing = Standing.READY
    leaving_since: float = 0.0
    runners: dict[str, _Runner] = field(default_factory=dict)

    def host(self, now: float) -> Host:
        is_leaving = self.standing is Standing.LEAVING
        return Host(
            instance=self.name,
            key=self.key,
            standing=self.standing,
            runs={batch: one.run for batch, one in self.runners.items() if one.begins_at <= now},
            leaving_s=now - self.leaving_since if is_leaving else 0.0,
        )

    def active(self, now: float) -> list[_Runner]:
        return [
            one for one in self.runners.values() if one.run.status is None and one.begins_at <= now
        ]


@dataclass(slots=True, kw_only=True)
class SimulatedBatches:
    """The site. Whoever tests it looks at each decision that `run` yields."""

    turns: int = 1
    quantum_s: float = 600.0
    now: float = 1_000.0
    batches: dict[str, SimulatedBatch] = field(default_factory=dict)
    instances: dict[str, SimulatedInstance] = field(default_factory=dict)
    shares: Shares = field(default_factory=Shares)
    examined: Shares = field(default_factory=Shares)
    used: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.instances[DESK] = SimulatedInstance(name=DESK, key=None)

    def add(self, batch: SimulatedBatch) -> SimulatedBatch:
        batch.created_at = self.now
        self.batches[batch.batch] = batch
        return batch

    def start(self, name: str, **changes: object) -> SimulatedInstance:
        made = SimulatedInstance(name=name, **changes)  # type: ignore[arg-type]  # its fields
        self.instances[name] = made
        return made

    def scene(self) -> Scene:
        return Scene(
            now=self.now,
            claims=tuple(one.claim() for one in self.batches.values() if not one.ended),
            hosts={name: one.host(self.now) for name, one in self.instances.items()},
            shares=self.shares,
            examined=self.examined,
            turns=self.turns,
            quantum_s=self.quantum_s,
        )

    def run(self, seconds: float, *, every: float = 1.0) -> Iterator[tuple[Scene, Decision]]:
        """Let time pass; yield each scene with what was decided on it."""
        until = self.now + seconds
        while self.now < until:
            yield self.tick()
            self.step(every)

    def tick(self) -> tuple[Scene, Decision]:
        """Let the agent look once, and carry out what it decides."""
        scene = self.scene()
        decision = decide(scene)
        for batch, reason in decision.failed.items():
            self.batches[batch].ended = reason
        for batch, state in decision.states.items():
            epoch = state.epoch + (batch in decision.assigned)
            self.batches[batch].state = replace(state, epoch=epoch)
        self._tell()
        return scene, decision

    def _tell(self) -> None:
        for instance in self.instances.values():
            wanted = {
                one.batch: one.state.epoch
                for one in self.batches.values()
                if one.state.instance == instance.name and not one.ended
            }
            for batch, runner in instance.runners.items():
                if runner.leaves_at is None and wanted.get(batch) != runner.run.epoch:
                    runner.leaves_at = self.now + LEAVES_S
            if instance.standing is not Standing.READY:
                continue
            for batch, epoch in wanted.items():
                known = instance.runners.get(batch)
                if known is None or known.run.epoch < epoch:
                    instance.runners[batch] = _Runner(
                        Run(batch=batch, epoch=epoch, pid=1), self.now + BEGINS_S
                    )

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass: lines are recorded by the runner with the highest epoch."""
        self.now += seconds
        for instance in self.instances.values():
            active = instance.active(self.now)
            for runner in active:
                self._work(instance, runner, instance.rate / len(active) * seconds)
        self.shares = self.shares.charge(
            [
                Recorded(batch=one.batch, share_of=one.owner, weight=one.weight, units=one.recorded)
                for one in self.batches.values()
            ],
            now=self.now,
        )

    def _work(self, instance: SimulatedInstance, runner: _Runner, lines: float) -> None:
        batch = self.batches[runner.run.batch]
        if runner.run.epoch < batch.state.epoch:
            self.exit(runner, 5)
        elif batch.ended:
            self.exit(runner, 0)
        elif runner.leaves_at is not None:
            if runner.leaves_at <= self.now:
                self.exit(runner, 4)
        elif instance.name == DESK and not batch.claim().ends:
            if runner.begins_at + EXAMINES_S <= self.now:
                batch.unexamined = False
                self.exit(runner, 4)
        else:
            batch.unexamined = False
            more = min(lines, batch.lines - batch.done)
            batch.done += more
            self.used[batch.owner] = self.used.get(batch.owner, 0.0) + more
            if batch.done >= batch.lines or batch.claim().ends:
                batch.ended = "completed"
                self.exit(runner, 0)

    def exit(self, runner: _Runner, status: int) -> None:
        runner.run = replace(runner.run, status=status)

    def crash(self, name: str, status: int) -> None:
        """Have all runners of an instance end."""
        for runner in self.instances[name].active(self.now):
            self.exit(runner, status)

    def drain(self, name: str) -> None:
        """Have an instance drain: its runners leave by themselves."""
        instance = self.instances[name]
        if instance.standing is not Standing.LEAVING:
            instance.standing, instance.leaving_since = Standing.LEAVING, self.now
            for runner in instance.runners.values():
                runner.leaves_at = runner.leaves_at or self.now + LEAVES_S

    def kill(self, name: str) -> None:
        """Take an instance away, as with its node."""
        if name != DESK:
            del self.instances[name]
