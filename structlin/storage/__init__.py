"""Trees of arrays and structured matrices in one file, or described beside other formats.

Tables of embeddings have a file of their own, of which rows are read when they are asked for.
"""

from structlin.storage._coding import CODERS, Coded, entropy_code
from structlin.storage._describe import describe, rebuild, template
from structlin.storage._errors import (
    DamagedFileError,
    ForeignFileError,
    MissingRowError,
    NewerVersionError,
    StorageError,
    UnknownStructureError,
)
from structlin.storage._file import Header, load, read_header, read_metadata, save, verify
from structlin.storage._tensors import Stored
from structlin.storage.store import EmbeddingStore

__all__ = [
    "CODERS",
    "Coded",
    "DamagedFileError",
    "EmbeddingStore",
    "ForeignFileError",
    "Header",
    "MissingRowError",
    "NewerVersionError",
    "StorageError",
    "Stored",
    "UnknownStructureError",
    "describe",
    "entropy_code",
    "load",
    "read_header",
    "read_metadata",
    "rebuild",
    "save",
    "template",
    "verify",
]
