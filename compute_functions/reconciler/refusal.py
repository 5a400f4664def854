"""Why a site does not run a model as it is desired: its own policy wins."""

from __future__ import annotations

from compute_functions.contract.lifecycle import DesiredModel
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.view import View


def refusal(view: View, model: DesiredModel) -> str:
    """Return why no instance of a model is started; nothing if the site will."""
    named = view.refused.get(ModelKey.of(model), "")
    return named or _gpus(view, model) or _walltime(view, model) or _jobs(view, model)


def _gpus(view: View, model: DesiredModel) -> str:
    policy = view.policy
    allowed = min(
        (most for most in (policy.instance_gpus, policy.gpus) if most is not None), default=None
    )
    if allowed is not None and model.gpus > allowed:
        return f"it asks for {model.gpus} GPUs, and the site allows {allowed}"
    there = view.capacity
    if there is None or (model.gpus and model.gpus <= there.gpus):
        return ""
    if not there.nodes:
        return "the scheduler shows no nodes in the site's partition"
    if not model.gpus:
        return "" if set(there.nodes) - there.down else "no node of the site's partition is up"
    asked = f"it asks for {model.gpus} GPUs"
    return f"{asked}, and the nodes that are up in the site's partition have {there.gpus}"


def _walltime(view: View, model: DesiredModel) -> str:
    allowed = view.policy.walltime_s
    if allowed is not None and model.walltime_s > allowed:
        return f"it asks for {model.walltime_s:g} s of walltime, and the site allows {allowed:g}"
    return ""


def _jobs(view: View, model: DesiredModel) -> str:
    allowed = view.policy.jobs
    if allowed is not None and model.min > allowed:
        return f"it asks for {model.min} instances, and the site allows {allowed} jobs"
    return ""
