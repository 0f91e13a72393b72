"""The command line under spark-submit: the line that `batchscore plan` prints runs this file."""

from __future__ import annotations

from batchscore.cli import main

if __name__ == "__main__":
    main()
