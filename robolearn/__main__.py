"""`python -m robolearn` is the `robolearn` command."""

import sys

from robolearn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
