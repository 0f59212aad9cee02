"""``python -m botwire``: the command line."""

import sys

from botwire.cli import main

if __name__ == "__main__":
    sys.exit(main())
