"""`python -m pitboss.cli` is `pitboss`."""

import sys

from pitboss.cli import main

if __name__ == "__main__":
    sys.exit(main())
