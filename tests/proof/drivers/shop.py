"""The example shop's jobs, enqueued at a steady pace until a file is there: python shop.py BACKEND SEED PER_SECOND FILE"""

import importlib
import sys
import time
from pathlib import Path

from jobtide_example.plan import DEFAULT_MIX, plans

_, backend, seed, per_second, over = sys.argv
app = importlib.import_module(f"jobtide_example.{backend}_app")
begun = time.monotonic()
for plan in plans(1_000_000, int(seed), DEFAULT_MIX, 4.0, 0):
    if Path(over).exists():
        break
    time.sleep(max(0.0, begun + plan.number / int(per_second) - time.monotonic()))
    app.enqueue(plan)
