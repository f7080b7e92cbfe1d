# PYTHON_ARGCOMPLETE_OK
"""`python -m harness`."""

import sys

from harness.commands import main

sys.exit(main())
