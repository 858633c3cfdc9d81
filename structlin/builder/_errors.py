"""What stops a build, for a reason that its user can mend."""

__all__ = ["DataError", "DivergedError", "FolderError", "ModelError"]


class DataError(ValueError):
    """A file of examples that no model can be built from."""


class DivergedError(RuntimeError):
    """A training whose loss is no longer a number."""


class FolderError(ValueError):
    """A folder that holds the models of another run."""


class ModelError(ValueError):
    """A file of weights that is no model of the builder, or of a newer one."""
