"""A site in simulated time: scheduler, nodes, engines, faults. It does what the reconciler says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from compute_functions.contract.instances import InstanceState
from compute_functions.contract.lifecycle import DesiredModel, DesiredState, ModelDemand
from compute_functions.drivers.driver import Capacity, JobState
from compute_functions.reconciler import (
    Action,
    Cancel,
    Decision,
    Drain,
    Draining,
    Estimate,
    Member,
    Memory,
    ModelKey,
    Policy,
    Registered,
    Submit,
    View,
    decide,
)

#: The scheduler takes so long to see that a node is dead, and a job so long to end (seconds).
NODE_TIMEOUT_S = 30.0
ENDING_S = 2.0
#: An instance registers so long after its job began, and drains so long before its walltime ends.
REGISTERS_S = 1.0
LAST_WORDS_S = 10.0


@dataclass(slots=True, kw_only=True)
class SimulatedNode:
    """One node; a dead one stays dead until it is repaired."""

    name: str
    gpus: int
    died_at: float | None = None


@dataclass(slots=True, kw_only=True)
class SimulatedJob:
    """One instance's job. `busy_until` has the end of each request under way."""

    instance: str
    job_id: str
    key: ModelKey
    gpus: int
    walltime_s: float
    submitted_at: float
    fence: int
    exclude: tuple[str, ...] = ()
    state: JobState = JobState.PENDING
    node: str = ""
    started_at: float | None = None
    ready_at: float | None = None
    told: Draining | None = None
    drains: bool = False
    failed: bool = False
    ends_at: float | None = None
    gone_at: float | None = None
    silent_since: float | None = None
    unreadable_until: float = 0.0
    order_lost: bool = False
    busy_until: list[float] = field(default_factory=list)

    @property
    def serves(self) -> bool:
        """Whether a new request would be answered."""
        running = self.state is JobState.RUNNING and self.silent_since is None
        return running and self.ready_at is not None and not self.drains and not self.failed

    def end(self, now: float) -> None:
        """Begin to end."""
        if self.state is not JobState.ENDING:
            self.state, self.gone_at = JobState.ENDING, now + ENDING_S


@dataclass(slots=True, kw_only=True)
class SimulatedSite:
    """Everything at the site. `load_s` is what each model takes to load; `broken` never do."""

    policy: Policy
    nodes: dict[str, SimulatedNode]
    load_s: Mapping[str, float]
    now: float = 1_000_000.0
    fence: int = 1
    desired: dict[ModelKey, DesiredModel] = field(default_factory=dict)
    demand: dict[ModelKey, ModelDemand] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    queue_held: bool = False
    jobs: dict[str, SimulatedJob] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    submitted: int = 0
    known: bool = True

    def view(self) -> View:
        """Return the site as the agent sees it."""
        return View(
            now=self.now,
            fence=self.fence,
            desired=self._desired(),
            policy=self.policy,
            members=tuple(self._member(job) for job in self.jobs.values()),
            demand=tuple(self.demand.values()),
            capacity=Capacity(
                gpus=sum(node.gpus for node in self.nodes.values()),
                free_gpus=sum(self._free(node) for node in self._seen_up()),
                nodes=tuple(self.nodes),
                down=frozenset(self.nodes) - {node.name for node in self._seen_up()},
            ),
            estimates={
                key: Estimate(load_s=self.load_s[key.model], queue_s=0.0) for key in self.desired
            },
            memory=self.memory,
        )

    def _desired(self) -> DesiredState | None:
        if not self.known:
            return None
        return DesiredState(generation=1, revision=1, models=tuple(self.desired.values()))

    def tick(self) -> Decision:
        """Let the agent look once, and do what it decides."""
        decision = decide(self.view())
        self.memory = decision.memory
        for action in decision.actions:
            self.act(action)
        return decision

    def act(self, action: Action) -> None:
        """Do one thing, as driver and instance would."""
        if isinstance(action, Submit):
            self._submit(action)
            return
        job = self.jobs[action.instance]
        if isinstance(action, Drain):
            job.told = job.told or Draining(since=self.now, until=action.until)
        elif isinstance(action, Cancel):
            assert job.job_id == action.job_id
            job.end(self.now)

    def _submit(self, action: Submit) -> None:
        self.submitted += 1
        name = f"{action.key.model}-{self.submitted:08x}"
        self.jobs[name] = SimulatedJob(
            instance=name,
            job_id=str(self.submitted),
            key=action.key,
            gpus=action.gpus,
            walltime_s=action.walltime_s,
            submitted_at=self.now,
            fence=self.fence,
            exclude=action.exclude,
        )
        self.memory = self.memory.submitted(action.key, name)

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.now += seconds
        for job in list(self.jobs.values()):
            self._age(job)
        if not self.queue_held:
            self._schedule()

    def run(self, seconds: float, *, every: float = 1.0) -> Iterator[Decision]:
        """Let time pass, and the agent look each time; yield each of its decisions."""
        end = self.now + seconds
        while self.now < end:
            yield self.tick()
            self.step(every)

    def kill(self, name: str) -> None:
        """Cut a node's power: its jobs fall silent, and the scheduler sees it later."""
        self.nodes[name].died_at = self.now
        for job in self.on(name):
            job.silent_since = self.now

    def on(self, node: str) -> list[SimulatedJob]:
        """Return the jobs that run on a node."""
        return [job for job in self.jobs.values() if job.node == node]

    def of(self, key: ModelKey) -> list[SimulatedJob]:
        """Return a model's jobs."""
        return [job for job in self.jobs.values() if job.key == key]

    def serving(self, key: ModelKey) -> list[SimulatedJob]:
        """Return a model's instances that would answer."""
        return [job for job in self.of(key) if job.serves]

    def _age(self, job: SimulatedJob) -> None:
        if job.gone_at is not None:
            if job.gone_at <= self.now:
                del self.jobs[job.instance]
            return
        if job.state is not JobState.RUNNING:
            return
        if job.silent_since is not None:
            self._notice_death(job)
            return
        self._serve(job)

    def _notice_death(self, job: SimulatedJob) -> None:
        died_at = self.nodes[job.node].died_at
        if died_at is None or died_at + NODE_TIMEOUT_S <= self.now:
            job.end(self.now)

    def _serve(self, job: SimulatedJob) -> None:
        assert job.started_at is not None
        assert job.ends_at is not None
        job.busy_until = [end for end in job.busy_until if end > self.now]
        if job.ends_at <= self.now or job.failed:
            job.end(self.now)
            return
        if self.now >= job.started_at + self.load_s[job.key.model] and job.ready_at is None:
            if job.key.model in self.broken:
                job.failed = True
            else:
                job.ready_at = self.now
        job.drains = job.drains or bool(job.told) or self.now >= job.ends_at - LAST_WORDS_S
        over = job.told is not None and job.told.until <= self.now
        if job.drains and (over or not job.busy_until):
            job.end(self.now)

    def _schedule(self) -> None:
        for job in sorted(self.jobs.values(), key=lambda job: int(job.job_id)):
            if job.state is not JobState.PENDING:
                continue
            fitting = [
                node
                for node in self._seen_up()
                if node.name not in job.exclude and self._free(node) >= job.gpus
            ]
            if fitting:
                self._start(job, fitting[0])

    def _start(self, job: SimulatedJob, node: SimulatedNode) -> None:
        job.state, job.node, job.started_at = JobState.RUNNING, node.name, self.now
        job.ends_at = self.now + job.walltime_s
        if node.died_at is not None:
            job.silent_since = self.now

    def _seen_up(self) -> list[SimulatedNode]:
        """Return the nodes that the scheduler takes for usable; some may be dead."""
        return [
            node
            for node in self.nodes.values()
            if node.died_at is None or node.died_at + NODE_TIMEOUT_S > self.now
        ]

    def _free(self, node: SimulatedNode) -> int:
        taken = sum(job.gpus for job in self.jobs.values() if job.node == node.name)
        return node.gpus - taken - self.foreign.get(node.name, 0)

    def _member(self, job: SimulatedJob) -> Member:
        running = job.state is JobState.RUNNING
        return Member(
            instance=job.instance,
            model=job.key.model,
            framework="" if job.order_lost else job.key.framework,
            purpose=job.key.purpose,
            job_id=job.job_id,
            state=job.state,
            fence=job.fence,
            generation=1,
            gpus=None if job.order_lost else job.gpus,
            walltime_s=job.walltime_s,
            submitted_at=job.submitted_at,
            started_at=job.started_at,
            ends_at=job.ends_at if running else None,
            nodes=(job.node,) if job.node else (),
            registered=self._registered(job),
            draining=job.told,
        )

    def _registered(self, job: SimulatedJob) -> Registered | None:
        if job.started_at is None or job.unreadable_until > self.now:
            return None
        heard_at = self.now if job.silent_since is None else job.silent_since
        if heard_at < job.started_at + REGISTERS_S:
            return None
        return Registered(
            state=_said(job),
            silent_s=self.now - heard_at,
            ready_at=job.ready_at,
            in_flight=len(job.busy_until),
        )


def _said(job: SimulatedJob) -> InstanceState:
    if job.failed:
        return InstanceState.FAILED
    if job.drains:
        return InstanceState.DRAINING
    return InstanceState.READY if job.ready_at is not None else InstanceState.STARTING
