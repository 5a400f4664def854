"""What a batch is when it is made: its order, and what the gateway notes beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from compute_functions.contract.batches import BatchOrder, FileSum, LineError
from resource_server.domain import batch_progress
from resource_server.domain.batch_places import BatchPlace, endpoints
from resource_server.domain.batch_requests import BatchRequest
from resource_server.domain.batches import Batch, Stage, new_batch_id
from resource_server.domain.files import StoredFile
from resource_server.domain.identity import Person
from resource_server.domain.routing import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sound request, from whom, for what file, and when (seconds since the epoch).

    `keep_s` is for how long results are kept where the request says nothing. `cache_salt` is the
    person's, as the lines of a batch are asked with where callers' requests are.
    """

    person: Person
    base: Base
    request: BatchRequest
    file: StoredFile | None
    now: float
    window_s: float
    keep_s: float
    cache_salt: str = field(repr=False)

    def batch(self, place: BatchPlace) -> Batch:
        """Return the batch that is done at this place."""
        cluster = place.destination.cluster.name
        framework = place.destination.framework
        most_bytes = place.offer.most_bytes
        order = replace(
            self._order(place.model.id),
            framework=framework.name,
            endpoints=endpoints(place.model),
            reserved=tuple(sorted(framework.reserved)),
            cache_salt=self.cache_salt if framework.cache_salt else None,
            weight=place.offer.weight(self.person.groups, self.base.project),
            most_lines=place.offer.most_lines,
            most_inputs=place.offer.most_inputs,
            # An upload is as large as it is: its own limit was held against it.
            most_bytes=max(most_bytes, self.file.bytes) if self.file else most_bytes,
        )
        return self._batch(order, cluster)

    def failed(self, problem: LineError) -> Batch:
        """Return the batch of an input that names no model, so that no site can look at it."""
        # No cluster was chosen; the one that was asked has it in its list.
        batch = self._batch(self._order(""), self.base.cluster or "")
        failed = batch_progress.refused(batch, problem.message, now=self.now, errors=(problem,))
        return replace(failed, stage=Stage.DONE)

    def _batch(self, order: BatchOrder, cluster: str) -> Batch:
        kept_s = self.request.output_keep_s
        return Batch(
            order=order,
            owner=self.person.account_id,
            cluster=cluster,
            completion_window=self.request.completion_window,
            input_file_id=self.file.id if self.file else None,
            metadata=self.request.metadata,
            fetches=self.file is not None or self.request.fetches,
            keep_s=self.keep_s if kept_s is None else kept_s,
        )

    def _order(self, model: str) -> BatchOrder:
        request, file = self.request, self.file
        return BatchOrder(
            batch=new_batch_id(),
            model=model,
            framework="",
            input_path=request.input_path,
            upload=FileSum(bytes=file.bytes, sha256=file.sha256) if file else None,
            input_name=file.filename if file else _name(request.input_path or ""),
            output_folder=request.output_folder,
            owner=tuple(identity.id for identity in self.person.identities),
            username=self.person.primary.username,
            share_of=_share_of(self.person, self.base),
            weight=1.0,
            endpoint=request.endpoint,
            most_lines=0,
            most_bytes=0,
            created_at=self.now,
            expires_at=self.now + self.window_s,
        )


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _share_of(person: Person, base: Base) -> str:
    """Return whom the batch is charged to in fair sharing."""
    return f"project:{base.project}" if base.project else f"person:{person.account_id}"
