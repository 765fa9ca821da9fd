"""Processes that use CPU, memory or disk space, as much as a lease allows and no longer.

Usable by hand (`python3 -m stressers cpu --duty 0.3`) and by a controller that
renews a lease. Standard library only. Plain classes with `__slots__` instead of
dataclasses throughout: importing dataclasses costs each process 1.6 MB.
"""
