"""The native code under the address and undefined-behaviour sanitizers: no library of JAX in it.

python tests/native/sanitize.py        # exits with 1 if anything is wrong, with 0 and a word of it
                                       # where there is no compiler
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from structlin.kernels.native import _build

FLAGS = ("-std=c++17", "-O1", "-g", "-w", "-fno-trapping-math", "-fno-math-errno")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def main() -> int:
    """Builds `sanitize.cc` with all sources but those that call JAX, and runs it."""
    try:
        compiler = _build.compiler()
    except _build.BuildError as error:
        print(f"Not checked: {error}.")
        return 0
    here = Path(__file__).parent
    sources = [p for p in sorted(_build.SOURCES.glob("*.cc")) if p.name != "ffi.cc"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sanitize"
        files = [here / "sanitize.cc", *sources]
        command = [*compiler, *FLAGS, *SANITIZERS, f"-I{_build.SOURCES}"]
        subprocess.run([*command, *map(str, files), "-o", str(program)], check=True)
        return subprocess.run([str(program)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main() != 0)
