"""A site that takes batches, on a shared file system with a person's folder, and orders for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from batch.folder import Folder
from batch.outcome import FileSum as LinesSum
from batch.outcome import Outcome, Status
from batch.use import Use
from compute_functions import site_config
from compute_functions.batch_access.access import Access
from compute_functions.batch_access.chosen import chosen
from compute_functions.batch_spool import control, view
from compute_functions.batch_spool.calls import batch_file, run_batch
from compute_functions.batch_spool.fate import begin
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.batch_spool.view import BatchView
from compute_functions.contract import JsonObject, SiteFailure
from compute_functions.contract.batches import (
    BatchCall,
    BatchFile,
    BatchOrder,
    BatchReport,
    BatchReports,
    BatchVerb,
    FileSum,
    Piece,
    PieceCall,
)
from compute_functions.site import SiteDirectory
from tests.support.open_folder import ALICE, PROJECT, owned
from tests.support.slurm_site import FRAMEWORK, MODEL, site_yaml, write_site

ALICES_ID = "10000000-0000-4000-8000-00000000a11c"
ENDPOINT = "/v1/chat/completions"
#: Once for all orders: two that are made alike are one, whenever they are made.
TOMORROW = time.time() // 1 + 86_400.0


def lines(count: int = 3, **changes: Any) -> bytes:
    """Return a good input of so many lines."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    line = {"method": "POST", "url": ENDPOINT, "body": body} | changes
    texts = (json.dumps({"custom_id": f"line-{n}"} | line) for n in range(count))
    return "".join(f"{text}\n" for text in texts).encode()


def sum_of(content: bytes) -> FileSum:
    """Return what a file of this content is on the wire."""
    return FileSum(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def order(batch: str = "batch_00000001", **changes: Any) -> BatchOrder:
    """Return an order with an upload of three lines."""
    values: dict[str, Any] = {
        "batch": batch,
        "model": MODEL,
        "framework": FRAMEWORK,
        "input_path": None,
        "upload": sum_of(lines()),
        "input_name": "input.jsonl",
        "output_folder": None,
        "owner": (ALICES_ID,),
        "username": "alice@example.org",
        "share_of": "project",
        "weight": 1.0,
        "endpoint": None,
        "most_lines": 150_000,
        "most_bytes": 1 << 30,
        "created_at": 1_790_000_000.0,
        "expires_at": TOMORROW,
    }
    return BatchOrder(**values | changes)


@dataclass(frozen=True, slots=True)
class BatchSite:
    """A site, called as a gateway calls it: over JSON."""

    site: SiteDirectory

    @property
    def spool(self) -> Spool:
        return Spool.of(self.site)

    @property
    def access(self) -> Access:
        settings = site_config.load(self.site).batches
        assert settings is not None
        return chosen(settings)

    def folder(self, batch: str = "batch_00000001") -> BatchFolder:
        return self.spool.folder(batch)

    def left(self) -> list[str]:
        """Return what stands in the spool, also what is hidden, but for its own folders."""
        own = {".assigned", ".forgotten", ".working"}
        return [name for name in names(self.spool.root) if name not in own]

    def view(self, batch: str = "batch_00000001") -> BatchView:
        return view.read(self.folder(batch))

    def submit(self, wanted: BatchOrder) -> BatchReport | SiteFailure:
        found = self._run(BatchCall(verb=BatchVerb.SUBMIT, order=wanted))
        return found if isinstance(found, SiteFailure) else found.reports[0]

    def taken(self, wanted: BatchOrder) -> BatchReport:
        """Submit what is taken."""
        found = self.submit(wanted)
        assert isinstance(found, BatchReport), found
        return found

    def refusal(self, wanted: BatchOrder) -> SiteFailure:
        """Submit what is refused."""
        found = self.submit(wanted)
        assert isinstance(found, SiteFailure), found
        return found

    def ask(self, verb: BatchVerb, *batches: str) -> BatchReports:
        found = self._run(BatchCall(verb=verb, batches=batches))
        assert isinstance(found, BatchReports), found
        return found

    def report(self, batch: str = "batch_00000001") -> BatchReport:
        (found,) = self.ask(BatchVerb.REPORT, batch).reports
        return found

    def _run(self, call: BatchCall) -> BatchReports | SiteFailure:
        wire = over_json(run_batch(over_json(call.to_wire())))
        failed = wire["kind"] == "failure"
        return SiteFailure.from_wire(wire) if failed else BatchReports.from_wire(wire)

    def piece(
        self, file: BatchFile, offset: int, content: bytes | None = None, *, batch: str = ""
    ) -> Piece | SiteFailure:
        call = PieceCall(batch=batch or "batch_00000001", file=file, offset=offset, content=content)
        wire = over_json(batch_file(over_json(call.to_wire())))
        return SiteFailure.from_wire(wire) if wire["kind"] == "failure" else Piece.from_wire(wire)

    def upload(self, content: bytes, *, batch: str = "") -> None:
        """Send a whole input in one piece."""
        found = self.piece(BatchFile.INPUT, 0, content, batch=batch)
        assert found == Piece(size=len(content)), found

    def finish(self, batch: str = "batch_00000001", status: str = "completed") -> BatchFolder:
        """Be the agent and the runner: begin the batch, and end it with two answers."""
        folder = self.folder(batch)
        assert begin(folder, now=1.0)
        output, errors = b'{"custom_id":"line-0"}\n{"custom_id":"line-2"}\n', b'{"line-1":0}\n'
        folder.output.write_bytes(output)
        folder.error_lines.write_bytes(errors)
        outcome = Outcome(
            status=Status(status),
            total=3,
            completed=2,
            failed=1,
            endpoint=ENDPOINT,
            use=Use(input_tokens=7, output_tokens=5),
            output=LinesSum(**sum_of(output).to_wire(), lines=2),
            error_file=LinesSum(**sum_of(errors).to_wire(), lines=1),
            started_at=1.0,
            ended_at=5.0,
            working_s=2.0,
            epoch=2,
            resumed=1,
        )
        assert Folder(folder.work).put_outcome(outcome)
        return folder


def over_json(value: JsonObject) -> JsonObject:
    """Return the value as the other side reads it."""
    read: JsonObject = json.loads(json.dumps(value))
    return read


def batch_site(folder: Path, **batches: Any) -> BatchSite:
    """Make a site in `folder` that takes batches; what its file says of them may be changed."""
    values = site_yaml(folder)
    values["batches"] = {"keep_free_bytes": 0, **batches}
    return BatchSite(write_site(folder, values))


def alices_site(folder: Path, **batches: Any) -> BatchSite:
    """Make a site in `folder` that knows Alice, who has a project there with an input."""
    project = owned(folder / "project", uid=ALICE, gid=PROJECT, mode=0o750)
    owned(project / "input.jsonl", uid=ALICE, gid=PROJECT, mode=0o640).write_bytes(lines())
    owned(project / "out", uid=ALICE, gid=PROJECT, mode=0o750)
    identities(folder, {ALICES_ID: {"uid": ALICE, "gids": [PROJECT]}})
    return batch_site(
        folder,
        **{
            "access": "account",
            "folders": [str(project)],
            "identities_file": str(folder / "identities.yaml"),
        }
        | batches,
    )


def identities(folder: Path, values: dict[str, Any]) -> Path:
    """Write the file that says who is who."""
    file = folder / "identities.yaml"
    file.write_text(yaml.safe_dump(values))
    file.chmod(0o600)
    return file


def content_of(path: Path) -> list[Any]:
    """Return the lines of a file of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def cancel_at(folder: BatchFolder) -> None:
    """Cancel a batch, as `run_batch` does."""
    control.cancel(folder, now=2.0)


def names(folder: Path) -> list[str]:
    """Return what stands in a folder, also what is hidden."""
    return sorted(entry.name for entry in folder.iterdir())


def ids(found: Iterable[BatchReport]) -> list[str]:
    """Return the batches of some reports."""
    return [one.batch for one in found]
