"""For a Python process whose wall clock is to be wrong by SHIFT_S seconds: this folder on PYTHONPATH. Monotonic clocks stay."""

import os
import time

_SHIFT_S = float(os.environ.get("SHIFT_S", "0"))
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _SHIFT_S
time.time_ns = lambda: _time_ns() + int(_SHIFT_S * 1e9)
