"""The command line ``structlin``, a file for each command."""

import sys

try:
    from structlin.cli._main import main
except ImportError as error:  # pragma: no cover (only without the extra)
    if error.name not in ("rich", "typer"):
        raise
    sys.exit(
        f"structlin: the command line needs the extra 'cli' ({error.name} is missing): "
        "pip install 'structlin[cli]'"
    )

__all__ = ["main"]
