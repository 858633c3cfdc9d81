"""Writing a file whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator

__all__ = ["replacing", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts ``data`` at ``path``, in place of what is there.

    Args:
        path: Where to write; its directory exists.
        data: The whole content.

    Raises:
        OSError: As for `replacing`.
    """
    with replacing(path) as temporary, open(temporary, "r+b") as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """An empty file beside ``path`` that takes its place when the block ends well.

    The bytes reach the disk first, and the name is taken in one step; a reader sees the old file or
    the new one. A link is followed and stays a link. The permissions are those of a new file, as
    the umask has them.

    Args:
        path: Where to write; its directory exists.

    Yields:
        The path of the temporary file.

    Raises:
        OSError: The directory or the disk does not take it. The old file is as it was, and the
            temporary one is gone, as after any other exception.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise IsADirectoryError(f"{os.fspath(path)!r} is a directory: give the name of a file.")
    # A short name of its own, since one made from the target's could be too long.
    temporary = os.path.join(os.path.dirname(target), f".structlin-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb", opener=_create):
            pass
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:  # an interrupt must not leave half a file either
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            # The caller knows the target; the errno picks the class, such as PermissionError.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    _sync_directory(os.path.dirname(target))


def _create(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o666)  # less the umask


def _sync_directory(path: str) -> None:
    # The file is in place and whole by now, and some systems cannot sync a directory.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
