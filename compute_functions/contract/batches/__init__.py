"""Batches as they cross between a gateway and a site: orders, words, reports, pieces of files.

Two functions serve them, by Globus Compute or over the site link, with the same values:
`run_batch` takes a `BatchCall` and gives `BatchReports`; `batch_file` takes a `PieceCall` and gives
a `Piece`. Both may be called again with the same values: nothing happens twice.
"""

from __future__ import annotations

from batch.rules import MOST_LINE_BYTES
from compute_functions.contract.batches.batch_fields import (
    MOST_BATCHES,
    MOST_ERRORS,
    MOST_FILE,
    MOST_LINES,
    MOST_PATH,
    MOST_REASON,
    MOST_RESERVED,
    batch_id,
)
from compute_functions.contract.batches.files import (
    MOST_PIECE,
    BatchFile,
    FileSum,
    Piece,
    PieceCall,
)
from compute_functions.contract.batches.orders import (
    BatchCall,
    BatchOrder,
    BatchVerb,
)
from compute_functions.contract.batches.reports import (
    BatchReport,
    BatchReports,
    BatchState,
    BatchUse,
    LineError,
)

__all__ = (
    "MOST_BATCHES",
    "MOST_ERRORS",
    "MOST_FILE",
    "MOST_LINES",
    "MOST_LINE_BYTES",
    "MOST_PATH",
    "MOST_PIECE",
    "MOST_REASON",
    "MOST_RESERVED",
    "BatchCall",
    "BatchFile",
    "BatchOrder",
    "BatchReport",
    "BatchReports",
    "BatchState",
    "BatchUse",
    "BatchVerb",
    "FileSum",
    "LineError",
    "Piece",
    "PieceCall",
    "batch_id",
)
