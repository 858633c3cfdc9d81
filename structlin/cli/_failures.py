"""How a command ends that cannot go on."""

import os
from pathlib import Path

__all__ = ["CommandError", "check_writable"]


class CommandError(Exception):
    """A command that cannot go on: one line, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        lines = [line.strip() for line in message.splitlines()]
        super().__init__(", ".join(lines).replace(":,", ":"))  # lists stand below a colon
        self.status = status


def check_writable(file: Path) -> None:
    """Makes the folder of ``file``.

    Raises:
        CommandError: The file cannot be written there.
        OSError: The folder cannot be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise CommandError(f"cannot write {file}", 1)
