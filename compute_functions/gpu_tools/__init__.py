"""What vendors' tools say of a node's GPUs, one tool a module; and which GPUs are a job's."""

from compute_functions.gpu_tools.gauge import GpuGauge

__all__ = ["GpuGauge"]
