"""Trees of arrays and structured matrices in one file."""

from structlin.storage._errors import (
    DamagedFileError,
    ForeignFileError,
    NewerVersionError,
    StorageError,
    UnknownStructureError,
)
from structlin.storage._file import Header, load, read_header, read_metadata, save

__all__ = [
    "DamagedFileError",
    "ForeignFileError",
    "Header",
    "NewerVersionError",
    "StorageError",
    "UnknownStructureError",
    "load",
    "read_header",
    "read_metadata",
    "save",
]
