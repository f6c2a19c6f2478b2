"""`python -m cavmae` is the same as `cavmae`."""

import sys

from cavmae.cli import main

sys.exit(main())
