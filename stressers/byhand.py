"""The command line for people: help, progress, clear refusals."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time

from stressers import free, start
from stressers.reclaim import METRICS
from stressers.run import DONE, FAILED, Source
from stressers.sizes import format_size, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stressers.run import AnyDoor

_UNITS = "K, M and G are steps of 1024: 1MB = 1MiB = 1048576 bytes"


class Progress:
    """Tells a person on stderr: each second on a terminal, else at start and end."""

    def __init__(self, what: str, until_s: float | None) -> None:
        self._what = what
        self._until_s = until_s
        self._held = 0
        self._next_s = 0.0
        self._terminal = sys.stderr.isatty()

    def ready(
        self, pids: list[int], means: list[str], missing: list[str], place: str | None
    ) -> bool:
        """Say that it begins, and what this host denies."""
        where = f" on {place}" if place else ""
        count = f"{len(pids)} process{'es' if len(pids) > 1 else ''}"
        self._say(f"started: {self._what}{where}, {count}; {', '.join(means)}")
        for lack in missing:
            self._say(f"missing: {lack}")
        return True

    def held(self, held_bytes: int) -> bool:
        """Remember it for the next line."""
        self._held = held_bytes
        return True

    def limited(self, by: str, held_bytes: int) -> bool:
        """Say why it does not grow."""
        self._say(f"stopped at {format_size(held_bytes)}: limited by {by}; still trying")
        return True

    def taken(self, taken_bytes: int) -> bool:
        """Say that the host is short of memory."""
        size = format_size(taken_bytes)
        self._say(f"the kernel has taken {size} back for others: releasing all, then a pause")
        return True

    def stirred(self) -> bool:
        """Nobody watches by hand."""
        return True

    def error(self, message: str) -> bool:
        """Say why it ends."""
        self._say(f"error: {message}")
        return True

    def tick(self, now_s: float) -> None:
        """Show what is held and the time left, once a second."""
        if not self._terminal or now_s < self._next_s:
            return
        self._next_s = now_s + 1.0
        left = ""
        if self._until_s is not None:
            left = f", {math.ceil(max(0.0, self._until_s - now_s))} s left"
        held = f", {format_size(self._held)} held now" if self._held else ""
        self._write(f"\r\033[K{self._what}{held}{left}")

    def _say(self, line: str) -> None:
        self._write(f"\r\033[K{line}\n" if self._terminal else f"{line}\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def released(self) -> None:
        """Say that nothing is left."""
        self._say("released")


def main(arguments: list[str]) -> int:
    """Run a stresser for a person; the exit code."""
    asked = _parser().parse_args(arguments)
    order = start.Order(asked.kind, getattr(asked, "workers", 0))
    value: float
    try:
        if asked.kind == "cpu":
            value, what = asked.duty, f"CPU duty {asked.duty:g} on {asked.workers} workers"
        elif asked.kind == "memory":
            value, order.metric = _whole_units(asked.size), asked.metric
            what = f"memory {format_size(value)}"
            _refuse(value, free.memory_room(), "memory", "the available memory")
        else:
            from stressers.place import check_place  # noqa: PLC0415  # for this kind only

            value, what = asked.size, f"disk {format_size(asked.size)}"
            order.allowed = frozenset(asked.allow.split(","))
            order.path = check_place(asked.path, order.allowed)
            _refuse(value, free.disk_room(order.path), f"disk space on {asked.path}", "the disk")
        until_s = None if asked.duration is None else time.monotonic() + asked.duration
        progress = Progress(what, until_s)

        def source_of(door: AnyDoor) -> Source:
            return Source(door, value, until_s)

        code = start.start(order, progress, source_of, stdin=False)
    except OSError as exc:
        print(f"stressers {asked.kind}: {exc}", file=sys.stderr)
        return FAILED
    if code == DONE:
        progress.released()
    return code


def _whole_units(size_bytes: int) -> int:
    from stressers.blocks import UNIT  # noqa: PLC0415  # for this kind only

    return -(-size_bytes // UNIT) * UNIT


def _refuse(wanted: float, room: int, what: str, of: str) -> None:
    """Raises OSError when more is wanted than may be taken."""
    if wanted > room:
        message = (
            f"{format_size(wanted)} of {what} asked for, but only {format_size(max(room, 0))} may "
            f"be taken: a share of {of} always stays free; ask for less or free some first"
        )
        raise OSError(message)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stressers",
        description="Use CPU, memory or disk space, gently, and give it back at the end.",
        epilog="Ctrl-C ends it and releases everything. Exit codes: 0 done, 1 failed, 2 usage.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="cpu|memory|disk")
    cpu = kinds.add_parser("cpu", help="use CPU time", description=_CPU)
    cpu.add_argument(
        "--workers", type=_count, default=_cpus(), metavar="N", help="default: one for each CPU"
    )
    cpu.add_argument(
        "--duty", type=_ratio, required=True, metavar="RATIO", help="share of each CPU, 0 to 1"
    )
    memory = kinds.add_parser("memory", help="hold memory", description=_MEMORY, epilog=_UNITS)
    memory.add_argument("size", type=_size, help="for example 100MB")
    memory.add_argument(
        "--shards",
        dest="workers",
        type=_count,
        default=4,
        metavar="N",
        help="processes that share it, default 4; fewer endanger others when memory runs out",
    )
    memory.add_argument(
        "--metric",
        choices=METRICS,
        default=METRICS[0],
        help="formula that shall count it as used: total less available (default), less free and "
        "caches, or less free; for the last two the kernel can take the memory back by itself",
    )
    disk = kinds.add_parser("disk", help="hold disk space", description=_DISK, epilog=_UNITS)
    disk.add_argument("--path", required=True, metavar="DIR", help="a directory on the filesystem")
    disk.add_argument(
        "--allow",
        default="",
        metavar="TYPES",
        help="filesystem types not to refuse, for example overlay,nfs4,tmpfs,fuse.sshfs",
    )
    disk.add_argument("--size", type=_size, required=True, help="for example 1GB")
    for kind in (cpu, memory, disk):
        kind.add_argument(
            "--duration", type=_seconds, metavar="S", help="seconds; default: until Ctrl-C"
        )
    return parser


_CPU = "Use a share of some CPUs, only when nobody else wants them."
_MEMORY = (
    "Hold memory in private pages of zeros, in whole units of 2 MiB. "
    "5 % of the memory and at least 512 MiB stay available."
)
_DISK = (
    "Hold disk space in a file without a name; nothing is written. "
    "10 % of the filesystem and at least 2 GiB stay available."
)


def _cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return 1 if sys.platform == "win32" else os.cpu_count() or 1


def _count(text: str) -> int:
    most = 1 if sys.platform == "win32" else MOST_WORKERS
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers from 1 to {most}")
    return int(text)


def _ratio(text: str) -> float:
    return _number(text, 0.0, 1.0, "a ratio from 0 to 1, for example 0.3")


def _seconds(text: str) -> float:
    return _number(text, 0.0, 1e9, "a number of seconds, for example 60")


def _number(text: str, least: float, most: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


MOST_WORKERS = 1024
