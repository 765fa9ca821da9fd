"""Entry point, by hand and leased.

By hand: `python3 -m stressers cpu|memory|disk --help`. A controller starts this
file itself, isolated: `python -I -S stressers/__main__.py KIND --leased
--parent PID [--life-fd N] [--workers N] [--shards N] [--metric available|nocache|free]
[--path DIR] [--allow TYPE,TYPE] [--cgroup DIR | --cgroup-socket PATH]`.
"""

from __future__ import annotations

import os
import sys

MOST_WORKERS = 1024
"""More is a mistake: each worker takes a process and a descriptor."""
_USAGE = (
    "usage: KIND --leased --parent PID [--life-fd N] [--workers N] "
    "[--cgroup DIR | --cgroup-socket PATH] [--shards N] "
    "[--metric available|nocache|free] [--path DIR] [--allow TYPE,TYPE]"
)


def _leased(arguments: list[str]) -> int:
    """Obey a controller; without argparse, which costs each process half a megabyte."""
    from stressers import start  # noqa: PLC0415  # found only once the path is set
    from stressers.lease import KEYS  # noqa: PLC0415  # as above
    from stressers.run import FAILED  # noqa: PLC0415  # as above
    from stressers.teller import Reports  # noqa: PLC0415  # as above

    kind, rest = arguments[0], [word for word in arguments[1:] if word != "--leased"]
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    crew_key = {"cpu": "--workers", "memory": "--shards"}.get(kind, "")
    own_keys = {
        "cpu": {"--cgroup", "--cgroup-socket"},
        "memory": {"--metric"},
        "disk": {"--path", "--allow"},
    }
    try:
        known = {"--parent", "--life-fd", crew_key} | own_keys.get(kind, set())
        if kind not in KEYS or len(rest) % 2 or not set(options) <= known:
            return _usage(" ".join(arguments))
        workers = int(options.get(crew_key, "4" if kind == "memory" else "1"))
        if not 1 <= workers <= MOST_WORKERS:
            return _usage(f"{crew_key} {workers}, expected 1 to {MOST_WORKERS}")
        order = start.Order(kind, workers)
        order.controller = int(options["--parent"])
        order.life_fd = int(options["--life-fd"]) if "--life-fd" in options else None
        order.path = options["--path"] if kind == "disk" else "."
        order.allowed = frozenset(options.get("--allow", "").split(","))
        order.metric = options.get("--metric", order.metric)
        if kind == "memory":
            from stressers.reclaim import METRICS  # noqa: PLC0415  # for this kind only

            if order.metric not in METRICS:
                return _usage(f"--metric {order.metric}, expected one of {', '.join(METRICS)}")
    except (ValueError, KeyError) as exc:
        return _usage(str(exc))
    order.group = options.get("--cgroup")
    if "--cgroup-socket" in options:
        from stressers.joining import Broker  # noqa: PLC0415  # where there is a broker only

        order.broker = Broker(options["--cgroup-socket"])
    reports = Reports(1)
    try:
        return start.start(order, reports, lambda door: start.leased(order, door), stdin=True)
    except OSError as exc:
        reports.error(str(exc))
        sys.stderr.write(f"stressers: {exc}\n")
        return FAILED


def _usage(fault: str) -> int:
    from stressers.run import USAGE  # noqa: PLC0415  # found only once the path is set

    sys.stderr.write(f"stressers: bad arguments: {fault}\n{_USAGE}\n")
    return USAGE


def main() -> int:
    """The exit code: 0 done, 1 failed, 2 usage, 3 when a worker was killed from outside."""
    if not __package__:
        # Last, so that nothing of ours hides a module of the standard library.
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = sys.argv[1:]
    if "--leased" in arguments:
        return _leased(arguments)
    from stressers import byhand  # noqa: PLC0415  # its imports are for people only

    return byhand.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
