"""Takes a batch into the spool, or says why not: nothing is begun by a batch that is refused."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from batch import whole_file
from compute_functions.batch_access.access import Access
from compute_functions.batch_access.chosen import chosen
from compute_functions.batch_access.patience import AT_ONCE
from compute_functions.batch_spool import (
    checking,
    forgetting,
    input_copy,
    order_file,
    pieces,
    place,
)
from compute_functions.batch_spool.folders import BatchFolder, Spool
from compute_functions.batch_spool.place import Place
from compute_functions.contract.batches import MOST_BATCHES, BatchOrder
from compute_functions.errors import BatchRefused, BatchUnknown, ConfigurationError, NoRoom
from compute_functions.site_config import SiteConfig, SiteModels

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What decides about orders: the spool, and what the site's file says."""

    spool: Spool
    config: SiteConfig

    def submit(self, order: BatchOrder) -> BatchFolder:
        """Return the folder of the batch, which is there from now on.

        The same order again changes nothing. Raises `BatchRefused` or `NoRoom`.
        """
        folder = self.spool.folder(order.batch)
        self._refuse_forgotten(order)
        if self._is_known(folder, order):
            return folder
        access = self._access()
        self._require_sense(order)
        self._require_room(order, access)
        with self._draft(order) as draft:
            self._fill(draft, order, access)
            self._refuse_forgotten(order)
            _appear(draft, folder)
        if not self._is_known(folder, order):
            raise BatchUnknown(f"there is no batch {order.batch} any more")
        return folder

    def _is_known(self, folder: BatchFolder, order: BatchOrder) -> bool:
        try:
            known = order_file.read(folder)
        except BatchUnknown:
            return False
        if not order_file.same(known, order):
            raise BatchRefused(f"the batch {order.batch} is here already, with another order")
        return True

    def _refuse_forgotten(self, order: BatchOrder) -> None:
        if self.spool.tombstone(order.batch).exists():
            raise BatchRefused(f"the batch {order.batch} was here, and is over")

    def _access(self) -> Access:
        if self.config.batches is None:
            raise BatchRefused(f"{self.config.cluster} takes no batches")
        return chosen(self.config.batches, AT_ONCE)

    def _require_sense(self, order: BatchOrder) -> None:
        """Refuse what could never run here."""
        _require_endpoint(order)
        if order.expires_at <= time.time():
            raise BatchRefused("its time was over before it came")
        models = SiteModels(self.config)
        models.refresh()
        if order.framework not in models.usable.get(order.model, ()):
            raise BatchRefused(f"the site does not run {order.model} with {order.framework}")

    def _require_room(self, order: BatchOrder, access: Access) -> None:
        """Refuse what is too large, and put off what comes when the spool is full."""
        if order.upload is not None:
            input_copy.require_size(order.upload.bytes, order, access)
        active = [found for found in self._active() if found.batch != order.batch]
        if len(active) >= MOST_BATCHES:
            raise NoRoom(f"the site has {len(active)} batches, and no room for more")
        own = sum(found.owner[0] == order.owner[0] for found in active)
        most = access.settings.most_active_per_owner
        if own >= most:
            raise NoRoom(f"{most} batches of this person are here already")
        size = 0 if order.upload is None else order.upload.bytes
        self._require_space(size, access)

    def _require_space(self, size: int, access: Access) -> None:
        """Put off what the disk has no room for, when all other uploads have come."""
        self.spool.prepare()
        awaited = sum(
            found.upload.bytes - pieces.received(self.spool.folder(found.batch), found)
            for found in self._active()
            if found.upload is not None
        )
        input_copy.require_space(self.spool.root, size + awaited, access)

    def _active(self) -> Iterator[BatchOrder]:
        """Yield the orders that are not over, as far as they can be read."""
        for folder in self.spool.folders():
            try:
                if not forgetting.is_over(folder):
                    yield order_file.read(folder)
            except BatchUnknown:
                continue  # It was forgotten between the listing and the reading.
            except ConfigurationError:
                log.exception("batch_unreadable batch=%s", folder.batch)

    @contextmanager
    def _draft(self, order: BatchOrder) -> Iterator[BatchFolder]:
        """Yield a batch's folder that nobody sees; it is gone afterwards, unless it was renamed."""
        draft = self.spool.root / f".draft.{secrets.token_hex(8)}" / order.batch
        for folder in (draft.parent, draft, draft / "work"):
            folder.mkdir(mode=0o700)
        try:
            yield BatchFolder(draft)
        finally:
            shutil.rmtree(draft.parent)

    def _fill(self, draft: BatchFolder, order: BatchOrder, access: Access) -> None:
        """Write the order, and take the input if it is small; the place comes last."""
        order_file.write(draft, order)
        if order.input_path is not None:
            self._take(draft, order, access)
        elif order.upload is not None and not order.upload.bytes:
            draft.input.touch(mode=0o600)
            checking.check(draft, order)
        if draft.fate.exists():
            Place().write(draft)
        else:
            place.made(order, access).write(draft)

    def _take(self, draft: BatchFolder, order: BatchOrder, access: Access) -> None:
        with access.input(order) as found:
            size = found.size
            input_copy.require_size(size, order, access)
            self._require_space(size, access)
            if size > checking.AT_ONCE_BYTES:
                return
            input_copy.take(draft, found)
        checking.check(draft, order)


def _require_endpoint(order: BatchOrder) -> None:
    allowed = checking.rules(order).endpoints
    if not allowed:
        raise BatchRefused(f"none of {', '.join(order.endpoints)} is an endpoint of batches here")
    if order.endpoint is not None and order.endpoint not in allowed:
        raise BatchRefused(f"{order.endpoint} is no endpoint of this model's batches")


def _appear(draft: BatchFolder, folder: BatchFolder) -> None:
    """Let the batch be there, whole; of several who submit it at once, one does this."""
    try:
        draft.path.rename(folder.path)
    except OSError:
        # Each system has its own number for it. Whether it is ours is looked at by the caller.
        if not folder.order.exists():
            raise
    whole_file.sync_folder(folder.path.parent)
