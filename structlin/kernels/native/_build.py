"""From the sources to a shared library in the user's cache: one for each set of circumstances."""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax

__all__ = ["BuildError", "build", "clean", "compiler", "library_path"]

SOURCES = Path(__file__).parent / "source"

# Without fast-math: NaN and infinity come out as XLA has them, and nothing changes how this process
# treats denormal numbers.
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-shared"),
    *("-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"),
)
SECONDS = 600


class BuildError(Exception):
    """The library cannot be built here; the message says why."""


def compiler() -> list[str]:
    """The command of the C++ compiler: ``$CXX``, or the first of c++, g++ and clang++ there is.

    Raises:
        BuildError: There is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    raise BuildError(
        f"there is no C++ compiler ({named[0] if named else 'c++, g++ or clang++'}): install one, "
        "or name one in CXX"
    )


def library_path() -> Path:
    """Where the library of these sources, this jaxlib, compiler and processor is or would be.

    Raises:
        BuildError: There is no compiler, or jaxlib has no header files.
    """
    if not hasattr(jax, "ffi"):
        raise BuildError(f"jax {jax.__version__} has no jax.ffi: install a later one")
    version, digest = importlib.metadata.version("jaxlib"), hashlib.sha256()
    for part in (version, *FLAGS, *compiler(), _version(), _processor()):
        digest.update(part.encode() + b"\0")
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return _folder() / f"structlin-{version}-{digest.hexdigest()[:20]}.so"


def build() -> Path:
    """The library, compiled if it is not in the cache.

    One process compiles and the others wait for it; a library is moved to its place when it is
    whole, and only a file that nobody else can have written is used.

    Raises:
        BuildError: It cannot be built.
    """
    path = library_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owned(path.parent)
        if not path.exists():
            with _locked(path.parent / "lock"):
                if not path.exists():
                    _compile(path)
        _check_owned(path)
    except OSError as error:
        raise BuildError(f"cannot use {error.filename or path}: {error.strerror}") from error
    return path


def clean() -> list[Path]:
    """Removes every library in the cache, and returns what was removed."""
    found = sorted(_folder().glob("structlin-*.so"))
    for path in found:
        path.unlink(missing_ok=True)
    return found


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "structlin" / "native"


def _compile(path: Path) -> None:
    sources = sorted(map(str, SOURCES.glob("*.cc")))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        made = Path(folder) / "library.so"
        command = [
            *compiler(),
            *FLAGS,
            "-isystem",
            jax.ffi.include_dir(),
            *sources,
            "-o",
            str(made),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"{command[0]} took more than {SECONDS} s") from None
        if done.returncode or not made.exists():
            said = done.stderr.strip().splitlines()
            first = next((line for line in said if "error" in line), said[0] if said else "nothing")
            raise BuildError(f"{command[0]} ended with {done.returncode}: {first}")
        made.chmod(0o700)
        made.replace(path)


def _version() -> str:
    done = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False)
    return done.stdout


def _processor() -> str:
    """The architecture, and the instructions where the system tells them."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
        return f"{platform.machine()} {' '.join(sorted(flags.split()))}"
    return platform.machine()


def _check_owned(path: Path) -> None:
    found = path.lstat()
    mine = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
    if not mine or found.st_mode & 0o022:
        raise BuildError(
            f"{path} can be written by somebody else: remove it, or name another folder in "
            "XDG_CACHE_HOME"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # not on every system; where it is not, neither is this library

    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
