"""Trees of arrays and structured matrices in one file, or described beside other formats."""

from structlin.storage._describe import describe, rebuild, template
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
    "describe",
    "load",
    "read_header",
    "read_metadata",
    "rebuild",
    "save",
    "template",
]
