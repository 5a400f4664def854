"""The wire between gateway and cluster: every value that crosses Globus Compute or a relay's link.

Both sides import this package and nothing else of each other. A value is a frozen dataclass with
`to_wire` (a JSON-ready dict) and a `from_wire` that raises `ContractError` for anything it does
not understand. The registered stubs call `compute_functions.run_request.run_request` and
`compute_functions.instances.site_status` with one such dict and return one such dict.

`frames` and `relay` are what a relay and a hub say to each other on their WebSocket.

Version 1. A site refuses requests of another version with the failure `unsupported_protocol`.
"""

from compute_functions.contract.answers import EngineAnswer
from compute_functions.contract.errors import ContractError, UnsupportedProtocol
from compute_functions.contract.failures import FailureCode, SiteFailure
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject, versioned
from compute_functions.contract.instances import (
    AgentReport,
    Instance,
    InstanceState,
    ModelOutlook,
    SiteStatus,
    Stage,
)
from compute_functions.contract.lifecycle import (
    FOR_BATCHES,
    Demand,
    DesiredModel,
    DesiredState,
    ModelDemand,
    Wishes,
)
from compute_functions.contract.packing import (
    COMPRESS_FROM,
    ENVELOPE_ALLOWANCE,
    GLOBUS_PAYLOAD_LIMIT,
    MAX_UNPACKED,
    pack,
    packed_size,
    unpack,
)
from compute_functions.contract.pushes import Push, PushedAnswer
from compute_functions.contract.replies import SiteReply, read_reply
from compute_functions.contract.requests import EngineRequest

__all__ = [
    "COMPRESS_FROM",
    "ENVELOPE_ALLOWANCE",
    "FOR_BATCHES",
    "GLOBUS_PAYLOAD_LIMIT",
    "MAX_UNPACKED",
    "PROTOCOL_VERSION",
    "AgentReport",
    "ContractError",
    "Demand",
    "DesiredModel",
    "DesiredState",
    "EngineAnswer",
    "EngineRequest",
    "FailureCode",
    "Instance",
    "InstanceState",
    "JsonObject",
    "ModelDemand",
    "ModelOutlook",
    "Push",
    "PushedAnswer",
    "SiteFailure",
    "SiteReply",
    "SiteStatus",
    "Stage",
    "UnsupportedProtocol",
    "Wishes",
    "pack",
    "packed_size",
    "read_reply",
    "unpack",
    "versioned",
]
