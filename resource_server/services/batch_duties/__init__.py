"""What the active controller does for batches and files: each write states its number."""

from resource_server.services.batch_duties.batch_duty import BatchDuty
from resource_server.services.batch_duties.files_duty import FilesDuty
from resource_server.services.batch_duties.old_rows_duty import OldRowsDuty
from resource_server.services.batch_duties.worker import Means

__all__ = ["BatchDuty", "FilesDuty", "Means", "OldRowsDuty"]
