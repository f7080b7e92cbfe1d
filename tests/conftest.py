"""For all tests: one OpenMP thread, before any library starts its own (small products are many times slower on busy cores otherwise), and
text as wide as the usual terminal.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COLUMNS"] = "100"
