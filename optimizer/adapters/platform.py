"""Reads what the host is: its platform, and its memory as bought."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import psutil

from optimizer.orders import MemoryMetric

_OS_RELEASE_PATHS = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
"""Source: os-release(5); the second is read only where the first is missing."""

_NAMES = {
    **{name: name for name in ("centos", "rhel", "rocky", "ubuntu", "debian", "kylin", "alma")},
    **{name: name for name in ("openeuler", "anolis", "alinux", "tencentos", "fedora", "suse")},
    "almalinux": "alma",
    "amzn": "amazon",
    "neokylin": "kylin",
    "ol": "rhel",
    "opensuse": "suse",
    "redhat": "rhel",
    "sled": "suse",
    "sles": "suse",
    "tlinux": "tencentos",
}
"""ID of os-release(5) in lower case -> the name that the configuration uses."""

LINUX_GENERIC = "linux_generic"
_TOTAL = re.compile(rb"^MemTotal: +(\d{1,18}) kB$", re.MULTILINE)


def detect(os_release_text: str | None, system: str) -> str:
    """The canonical platform name, in lower case, from the text of os-release(5).

    ID is tried first, then the words of ID_LIKE in their order. A Linux that
    neither names is `linux_generic`; a system that is neither Linux, Windows
    nor macOS is `unknown`. `system` is what platform.system() returns; the
    text is None where there is no such file.
    """
    if system in {"Windows", "Darwin"}:
        return "windows" if system == "Windows" else "macos"
    if system != "Linux":
        return "unknown"
    fields = _os_release_fields(os_release_text or "")
    words = [*fields.get("ID", "").split(), *fields.get("ID_LIKE", "").split()]
    for word in map(str.lower, words):
        # openSUSE gives each of its editions an ID of its own: opensuse-leap, ...
        name = _NAMES.get("opensuse" if word.startswith("opensuse") else word)
        if name is not None:
            return name
    return LINUX_GENERIC


def platform_name(override: str) -> str:
    """The canonical name of this machine's platform; `override` wins unless it is `auto`."""
    chosen = override.strip().lower()
    if chosen not in {"", "auto"}:
        return chosen
    return detect(_os_release_text(), platform.system())


def processor() -> str:
    """The kind of processor, as `uname -m` names it; empty when that is not known."""
    return platform.machine()


def visible_bytes(host: Path | None = None) -> int:
    """Bytes of memory that the kernel shows.

    `host` is where the host's /proc is mounted; where it has no meminfo our own
    /proc tells.
    """
    if host is not None:
        with contextlib.suppress(OSError):
            found = _TOTAL.search((host / "meminfo").read_bytes())
            if found is not None:
                return int(found[1]) * 1024
    total: int = psutil.virtual_memory().total
    return total


def memory_sizes(host: Path | None = None, sysfs: Path = Path("/sys")) -> tuple[int, int | None]:
    """Bytes of memory that the kernel shows, and bytes installed (None where not known).

    Both are the host's; the limit of a container's group is not looked at.

    Source: Linux Documentation/ABI/testing/sysfs-devices-memory;
    GetPhysicallyInstalledSystemMemory, which reads the firmware's tables; on
    macOS both are sysctl hw.memsize.
    """
    visible = visible_bytes(host)
    if sys.platform == "win32":
        return visible, _installed_bytes()
    if sys.platform == "darwin":
        return visible, visible
    return visible, online_block_bytes(sysfs)


def _installed_bytes() -> int | None:
    if sys.platform != "win32":
        return None
    import ctypes  # noqa: PLC0415  # as below

    return firmware_bytes(ctypes.WinDLL("kernel32"))


def firmware_bytes(kernel32: Any) -> int | None:
    """Memory by the firmware's tables on Windows; None where they do not tell it.

    Source: GetPhysicallyInstalledSystemMemory, in kilobytes.
    """
    import ctypes  # noqa: PLC0415  # costs the daemon memory where nobody needs it

    kilobytes = ctypes.c_uint64()
    if not kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes)):
        return None
    return kilobytes.value * 1024 or None


def online_block_bytes(sysfs: Path) -> int | None:
    """Online memory blocks times block size; None where the kernel does not show them."""
    directory = sysfs / "devices/system/memory"
    try:
        block_bytes = int((directory / "block_size_bytes").read_text(encoding="ascii"), 16)
        states = [path.read_text(encoding="ascii") for path in directory.glob("memory*/state")]
    except (OSError, ValueError):
        return None
    return block_bytes * sum(state.strip() == "online" for state in states) or None


def _os_release_text() -> str | None:
    for path in _OS_RELEASE_PATHS:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return None


def _os_release_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        key, _, value = line.partition("=")
        try:
            words = shlex.split(value, comments=True)
        except ValueError:  # a quote that is not closed
            words = [value.replace('"', " ").replace("'", " ")]
        fields[key.strip()] = " ".join(words)
    return fields


_MADV_FREE_SINCE = (4, 12)
"""The same as in stressers/reclaim.py."""


def holds_lazily(metric: MemoryMetric) -> bool:
    """Whether memory for a metric is such as the kernel takes back at any time (MADV_FREE)."""
    if sys.platform != "linux" or metric is MemoryMetric.AVAILABLE:
        return False
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _MADV_FREE_SINCE


def wait_for_others() -> str | None:
    """Never again interrupt a program that runs when this process, or a child of it, wakes up.

    The batch class: full priority once it runs, no preemption to begin with.
    Without it one request in a thousand of a redis beside us waits half a
    millisecond longer. None, or why it is denied. Linux only; elsewhere there is
    no such class.

    Source: sched(7); measured with benchmarks/cpu_interference.py.
    """
    if sys.platform != "linux":
        return None
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as exc:
        return exc.strerror or str(exc)
    return None
