"""A stresser whose CPU workers get stuck in C with the interpreter's lock held, as a fault would.

Everything else is the real one: crew, fork, arming, reports. STUCK_IN says in
what: "busy" computes, "asleep" waits in a system call, and neither returns
within the time of any test.
"""

from __future__ import annotations

import ctypes
import os
import sys

sys.path.insert(0, os.environ["STUCK_CODE"])

from stressers import __main__ as program
from stressers import cpu


def stuck(*_: object) -> None:
    """Never come back from one call."""
    if os.environ["STUCK_IN"] == "busy":
        huge = (1 << 400_000) - 1
        pow(3, huge, huge - 16)
    else:
        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the lock, unlike CDLL


cpu.burn = stuck

if __name__ == "__main__":
    sys.exit(program.main())
