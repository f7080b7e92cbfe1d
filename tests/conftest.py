"""For all tests: one OpenMP thread, before any library starts its own. Small products are many times slower on busy cores otherwise."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
