"""`python -m evogen`: the command line where the `evogen` script is not on the path."""

import sys

from evogen.cli import main

if __name__ == "__main__":
    sys.exit(main())
