"""`python -m auxlearn`: the command line."""

import sys

from auxlearn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
