"""The bytes of files that people upload and that batches leave, on a disk."""

from resource_server.adapters.stored_files.stored_files import StoredFiles

__all__ = ["StoredFiles"]
