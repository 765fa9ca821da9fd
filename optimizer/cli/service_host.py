"""What `windows/service.py` runs: the daemon of `optimizer run`, as a Windows service."""

from __future__ import annotations

import sys

from optimizer.errors import ServiceError


def main() -> int:
    """The exit code of the daemon; 1 where the service manager did not start this."""
    if sys.platform != "win32":
        print("optimizer: only Windows has this service manager", file=sys.stderr)
        return 1
    from optimizer.adapters.windows_service import host

    try:
        return host(_daemon)
    except ServiceError as exc:
        print(f"optimizer: {exc}", file=sys.__stderr__)
        return 1


def _daemon() -> int:
    from optimizer.__main__ import main as optimizer

    return optimizer(["run"])
