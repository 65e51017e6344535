"""``python -m ml.infer FILE…``: judge videos and photos on the command line, without the website."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ml.batch import add_arguments, run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ml.infer",
        description="Look for signs of manipulation in videos and photos of people.",
        epilog="Exit code: 0 all files judged, 1 some file failed, 2 wrong usage or no detector.",
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments), sys.stdout, sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
