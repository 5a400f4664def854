"""Files and batches: the services that people ask, and the controller's duties."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from resource_server.adapters.stored_files import StoredFiles
from resource_server.batch_ports import BatchObserver
from resource_server.config import Settings
from resource_server.domain.catalog import Catalog
from resource_server.domain.files import FileRules
from resource_server.ports import Duty, SiteCalls, SiteViews
from resource_server.services.batch_duties import BatchDuty, FilesDuty, Means, OldRowsDuty
from resource_server.services.batches import Batches, BatchRules
from resource_server.services.catalog import LiveCatalog
from resource_server.services.files import Files
from resource_server.services.sessions import CacheSalts
from resource_server.store.batches import BatchRows
from resource_server.store.catalog import CatalogTables
from resource_server.store.files import FileRows
from resource_server.store.old_batches import OldBatchRows


def make_files(settings: Settings) -> Files:
    """Return what people ask about files."""
    return Files(
        FileRows(),
        stored_files(settings),
        rules=FileRules(
            most_bytes=settings.files_max_bytes,
            quota_bytes=settings.files_quota_bytes,
            quota_count=settings.files_quota_count,
            keep_s=settings.files_keep_s,
        ),
    )


def make_batches(settings: Settings, catalog: Callable[[], Catalog], views: SiteViews) -> Batches:
    """Return what people ask about batches."""
    return Batches(
        catalog,
        BatchRows(),
        FileRows(),
        stored_files(settings),
        views=views,
        salts=CacheSalts(settings.read_secret_key().encode()),
        rules=BatchRules(
            longest_window_s=settings.batch_longest_window_s, keep_s=settings.files_keep_s
        ),
    )


def batch_duties(
    settings: Settings, calls: SiteCalls, observer: BatchObserver | None = None
) -> Sequence[Duty]:
    """Return what the controller does for them; sites are spoken with through `calls`."""
    # A catalog of its own: the controller has none, and a reader of it may be its first.
    catalog, disk = LiveCatalog(CatalogTables()), stored_files(settings)
    means = Means(
        table=BatchRows(),
        disk=disk,
        calls=calls,
        catalog=catalog.current,
        clock=time.time,
        most_result_bytes=settings.files_max_result_bytes,
        observer=observer,
    )
    old_rows = OldRowsDuty(OldBatchRows(), keep_s=settings.batch_keep_s)
    return BatchDuty(means, catalog), FilesDuty(FileRows(), disk), old_rows


def stored_files(settings: Settings) -> StoredFiles:
    """Return the files on the disk; nothing is opened."""
    root = settings.files_dir or settings.state_dir / "files"
    return StoredFiles(root, reserve_bytes=settings.files_reserve_bytes)
