"""Runs a program that is not ours so that it ends when the daemon does, however that ends.

    python -m optimizer.tether --parent PID -- program [argument ...]

On Linux this process arms its own death by the kernel and becomes the
program. Elsewhere, and with --stdin, the program runs as a child and is ended
when standard input reaches its end, which happens when its writer is gone.
Standard library only; imports nothing of the package.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

EXIT_NO_PROGRAM = 127
"""The program cannot be started; the shell's number for it."""
EXIT_ORPHAN = 76
"""The parent was gone before the program was started."""
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h. Survives execve unless that gains privileges: prctl(2)."""
_POLITE_S = 5.0
_ABOUT = "Run a program that ends when its starter does."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; its exit code, or one of ours when it never ran.

    On Linux this does not return when all goes well.
    """
    parser = argparse.ArgumentParser(prog="optimizer.tether", description=_ABOUT)
    parser.add_argument("--parent", type=int, required=True, help="process id of the starter")
    parser.add_argument(
        "--stdin", action="store_true", help="watch standard input instead of the parent"
    )
    parser.add_argument("command", nargs="+", help="program and arguments, after --")
    args = parser.parse_args(argv)
    try:
        if sys.platform == "linux" and not args.stdin:
            if not _arm(args.parent):
                return EXIT_ORPHAN
            os.execvp(args.command[0], args.command)  # noqa: S606 - a shell would outlive us
        return _accompany(args.command)
    except OSError as exc:
        sys.stderr.write(f"optimizer.tether: cannot start {args.command[0]}: {exc}\n")
        return EXIT_NO_PROGRAM


if sys.platform == "linux":

    def _arm(parent: int) -> bool:
        """Have the kernel kill this process with its parent; False when that is gone already."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        # A parent that ended before the line above sends no signal any more.
        return os.getppid() == parent


def _accompany(command: list[str]) -> int:
    """Run the program as a child until it ends, or end it once standard input has."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
    threading.Thread(target=_end_after_stdin, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code  # as a shell tells of a signal


def _end_after_stdin(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    child.terminate()
    try:
        child.wait(_POLITE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
