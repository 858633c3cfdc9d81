"""The command blocks of README.md: ``python tests/readme_commands.py NAME`` prints one of them.

A block is fenced as ``bash`` and stands right below its name: ``<!-- command: NAME -->``. This file
needs no package, so that it can be run before anything is installed.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"

_BLOCK = re.compile(r"^<!-- command: (\w+) -->\n+```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def command_blocks(text: str) -> dict[str, str]:
    """The command blocks in the Markdown ``text`` by name."""
    return dict(_BLOCK.findall(text))


if __name__ == "__main__":
    blocks = command_blocks(README.read_text(encoding="utf-8"))
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in blocks:
        sys.exit(f"README.md names the commands {sorted(blocks)}; give one of them, not {name!r}.")
    print(blocks[name], end="")
