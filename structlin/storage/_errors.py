"""What can be wrong with a file, by name."""

__all__ = [
    "DamagedFileError",
    "ForeignFileError",
    "MissingRowError",
    "NewerVersionError",
    "StorageError",
    "UnknownStructureError",
]


class StorageError(ValueError):
    """A file that cannot be read as what it claims to be; the base of all errors of reading."""


class DamagedFileError(StorageError):
    """A file that is empty, cut short or altered, or whose parts contradict each other."""


class ForeignFileError(StorageError):
    """A file that `structlin.save`, or `EmbeddingStore.build` for a store, did not write."""


class NewerVersionError(StorageError):
    """A file in a version of the format that this structlin does not know yet."""


class UnknownStructureError(StorageError):
    """A file that holds a structure or a spec whose class is not defined in this process."""


class MissingRowError(KeyError):
    """A word or a number of which a store of embeddings has no row."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError shows its text in quotes
