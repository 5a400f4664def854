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
    if view.capacity is not None and model.gpus > view.capacity.gpus:
        return f"it asks for {model.gpus} GPUs, and the site has {view.capacity.gpus}"
    return ""


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
