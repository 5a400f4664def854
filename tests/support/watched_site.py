"""A simulated site under an eye that knows what the reconciler must never do."""

from __future__ import annotations

from dataclasses import dataclass, field

from compute_functions.drivers.driver import JobState
from compute_functions.reconciler import Cancel, Decision, Drain, ModelKey, Submit, decide
from tests.support.simulated_site import SimulatedJob, SimulatedSite


@dataclass(slots=True, kw_only=True)
class WatchedSite:
    """Lets the agent act on a site, and checks each decision before it is carried out."""

    site: SimulatedSite
    told: list[str] = field(default_factory=list)

    def tick(self) -> Decision:
        """Let the agent look twice and act once."""
        seen = self.site.view()
        decision = decide(seen)
        assert decide(seen) == decision, "the same view, and another decision"
        for action in decision.actions:
            self.told.append(f"{self.site.now:.0f} {action}")
            if not isinstance(action, Submit):
                assert action.instance in self.site.jobs, "a job of somebody else"
        self._keeps_a_ready_one(decision)
        self._cuts_no_request_short(decision)
        self.site.memory = decision.memory
        for action in decision.actions:
            self.site.act(action)
        self._is_no_crowd()
        return decision

    def run(self, seconds: float, *, every: float = 1.0) -> None:
        """Let time pass."""
        end = self.site.now + seconds
        while self.site.now < end:
            self.tick()
            self.site.step(every)

    def _is_no_crowd(self) -> None:
        for key, model in self.site.desired.items():
            live = [job for job in self.site.of(key) if self._is_live(job)]
            assert len(live) <= model.max + self.site.policy.surge, f"a crowd of {key}"

    def _is_live(self, job: SimulatedJob) -> bool:
        return (
            job.state is not JobState.ENDING
            and not job.drains
            and not job.failed
            and job.told is None
            and (job.ends_at is None or job.ends_at > self.site.now)
        )

    def _keeps_a_ready_one(self, decision: Decision) -> None:
        ended = {one.instance for one in decision.actions if isinstance(one, Drain | Cancel)}
        for key, model in self.site.desired.items():
            serving = [job for job in self.site.serving(key) if job.told is None]
            ours = [job for job in serving if job.submitted_at >= model.unloaded_at]
            left = [job for job in ours if job.instance not in ended]
            if model.min and ours:
                assert len(left) >= min(len(ours), 1), f"{key} lost its last one: {self.told[-9:]}"

    def _cuts_no_request_short(self, decision: Decision) -> None:
        for action in decision.actions:
            if not isinstance(action, Cancel):
                continue
            job = self.site.jobs[action.instance]
            if not job.busy_until or job.silent_since is not None or job.failed:
                continue
            over = job.ends_at is not None and job.ends_at <= self.site.now
            drained = job.told is not None and job.told.until <= self.site.now
            assert over or drained, f"cut short: {action}"

    def converged(self, key: ModelKey) -> bool:
        """Tell whether a model is as desired, with nobody asking for it."""
        model = self.site.desired.get(key)
        live = [job for job in self.site.of(key) if job.state is not JobState.ENDING]
        if model is None or not model.min:
            return not live
        return len(self.site.serving(key)) >= model.min
