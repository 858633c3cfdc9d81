"""``python -m structlin``: the command line."""

from structlin.cli import main

if __name__ == "__main__":
    main()
