"""Orders of batches, and the words about them: the argument of `run_batch`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.batches.batch_fields import (
    MOST_BATCHES,
    MOST_FILE,
    MOST_LINES,
    MOST_RESERVED,
    absolute_path,
    batch_id,
    checked_id,
    endpoints,
    file_name,
    salt,
    text_of,
)
from compute_functions.contract.batches.files import FileSum
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import PROTOCOL_VERSION, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOrder:
    """One batch, as a gateway wants it done. It never changes.

    Its input is a file of the site, `input_path`, or comes from the gateway, `upload`: one of them
    is None. `output_folder` is a folder of the site for the results; None for the input's own
    folder, or, with an upload, for none: the gateway fetches the results. `owner` are the person's
    identities (Globus ids), the first one the primary; `username` is that one's name, for paths by
    identity. `share_of` is whom the batch's use is charged to in fair sharing: a project, or the
    owner. Batches of a larger `weight` get more. `endpoint` is the only path that lines may name,
    as `/v1/chat/completions`; None for any one of `endpoints`, the same in all lines. These are the
    paths that the model serves; none from who does not say so: then any path of batches. No line's
    body may have one of the fields `reserved`. After `expires_at` (seconds since the epoch) no line
    begins. The engine keeps what it remembers of prompts with one `cache_salt` apart from others';
    None for one that cannot. All lines together have `most_inputs` embedding inputs at most; with
    None the site says how many.
    """

    batch: str
    model: str
    framework: str
    input_path: str | None
    upload: FileSum | None
    input_name: str
    output_folder: str | None
    owner: tuple[str, ...]
    username: str
    share_of: str
    weight: float
    endpoint: str | None
    most_lines: int
    most_bytes: int
    created_at: float
    expires_at: float
    reserved: tuple[str, ...] = ()
    cache_salt: str | None = field(default=None, repr=False)
    endpoints: tuple[str, ...] = ()
    most_inputs: int | None = None

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            **asdict(self),
            "owner": list(self.owner),
            "reserved": list(self.reserved),
            "endpoints": list(self.endpoints),
            "upload": None if self.upload is None else self.upload.to_wire(),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a batch's order")
        upload = fields.present(values, "upload")
        order = cls(
            batch=batch_id(values),
            model=fields.text(values, "model"),
            framework=fields.text(values, "framework"),
            input_path=absolute_path(values, "input_path"),
            upload=None if upload is None else FileSum.from_wire(upload),
            input_name=file_name(values),
            output_folder=absolute_path(values, "output_folder"),
            owner=tuple(text_of(one) for one in fields.items(values, "owner", most=100)),
            username=fields.text(values, "username"),
            share_of=fields.text(values, "share_of"),
            weight=fields.number(values, "weight"),
            endpoint=absolute_path(values, "endpoint"),
            most_lines=fields.count(values, "most_lines", most=MOST_LINES),
            most_bytes=fields.count(values, "most_bytes", most=MOST_FILE),
            created_at=fields.duration(values, "created_at"),
            expires_at=fields.duration(values, "expires_at"),
            reserved=tuple(
                text_of(one) for one in fields.items(values, "reserved", most=MOST_RESERVED)
            ),
            cache_salt=salt(values),
            endpoints=endpoints(values),
            most_inputs=fields.optional_count({"most_inputs": None} | values, "most_inputs"),
        )
        if (order.input_path is None) == (order.upload is None):
            raise ContractError("a batch has either input_path or upload")
        if not order.owner:
            raise ContractError("a batch has an owner")
        if not order.weight > 0:
            raise ContractError("weight is not above 0")
        return order


class BatchVerb(StrEnum):
    """What `run_batch` is to do."""

    #: Take this batch, unless it is there already.
    SUBMIT = "submit"
    #: Begin no more lines of these, and end them with what is done.
    CANCEL = "cancel"
    #: Say how these are.
    REPORT = "report"
    #: Remove these: their results were fetched, or nobody wants them. What runs is cancelled.
    FORGET = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCall:
    """The argument of `run_batch`: `order` with SUBMIT, `batches` (ids) with the others."""

    verb: BatchVerb
    order: BatchOrder | None = None
    batches: tuple[str, ...] = ()

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {
            "v": PROTOCOL_VERSION,
            "verb": self.verb.value,
            "order": None if self.order is None else self.order.to_wire(),
            "batches": list(self.batches),
        }

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.versioned(wire)
        order = fields.present(values, "order")
        call = cls(
            verb=_verb(values),
            order=None if order is None else BatchOrder.from_wire(order),
            batches=tuple(
                checked_id(text_of(one))
                for one in fields.items(values, "batches", most=MOST_BATCHES)
            ),
        )
        if (call.verb is BatchVerb.SUBMIT) != (call.order is not None):
            raise ContractError("an order comes with 'submit', and with nothing else")
        return call


def _verb(values: JsonObject) -> BatchVerb:
    try:
        return BatchVerb(fields.text(values, "verb"))
    except ValueError:
        raise ContractError(f"unknown verb {fields.quoted(values.get('verb'))}") from None
