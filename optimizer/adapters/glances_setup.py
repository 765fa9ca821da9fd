"""What Glances needs before it starts: its configuration, a fit installation, a free port."""

from __future__ import annotations

import errno
import importlib.util
import re
import socket
import sys
from pathlib import Path

OLDEST = (4, 5, 8)
"""Versions before this have known holes, such as GHSA-56xw-p9qm-r437."""
REMEDY = "pip install 'glances[web]>=4.5.8'"
"""The command that installs what is missing."""
USER = "optimizer"
"""The name to log in with, where there is a password."""
SAVE_LOGIN = """
import os, sys
os.umask(0o077)
from glances.password import GlancesPassword
keeper = GlancesPassword(sys.argv[2])
keeper.password_dir = sys.argv[1]
keeper.password_file = os.path.join(sys.argv[1], sys.argv[2] + ".pwd")
keeper.save_password(keeper.hash_password(keeper.get_hash(sys.stdin.read())))
"""
"""Hashes the password on standard input for the user argv[2], into the directory argv[1]."""
HISTORY_POINTS = 120
"""Values that Glances keeps for each figure; its default of 1200 makes it grow for days."""
WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
"""Addresses that stand for all addresses of the host."""
_CPU, _MEMORY, _DISK, _LOAD = (92, 95, 98), (88, 92, 96), (82, 88, 94), (2, 4, 8)
_COLOURS = {
    "quicklook": {"cpu_": _CPU, "mem_": _MEMORY},
    "cpu": {"total_": _CPU, "user_": _CPU, "system_": _CPU},
    "percpu": {"user_": _CPU, "system_": _CPU},
    "load": {"": _LOAD},
    "mem": {"": _MEMORY},
    "fs": {"": _DISK},
    "processlist": {"cpu_": _CPU, "mem_": _MEMORY},
}
"""Where careful, warning and critical begin: above the ceilings of the optimizer.

In percent; for the load average per CPU. With Glances' own 50, 70 and 90 the
page would be coloured all the time, for utilisation is held on purpose.
"""
_PLUGINS_OFF = ("cloud", "containers", "vms", "raid", "smart")
"""What asks a metadata service, an engine or a device; on wherever a file does not name it."""


def render_config(
    *,
    status_text: Path,
    platform: str,
    bind: str = "127.0.0.1",
    port: int = 61208,
    passwords: Path | None = None,
) -> str:
    """A glances.conf that shows `status_text` and keeps Glances off the internet.

    `platform` is as sys.platform. `passwords` is the directory of the
    password files, if any. Bound to all addresses, any host name is accepted,
    for there is no telling which the operator uses.

    Raises ValueError for a path that Glances would not take as one argument:
    it splits at commas and quotes and runs what stands in backticks.
    """
    for path in (status_text, passwords or status_text):
        if not str(path).isprintable() or set(str(path)) & set(",\"'`"):
            raise ValueError(f"{path}: comma, quote, backtick or control character in the path")
    read = "cmd /c type" if platform == "win32" else "/bin/cat"
    hosts = list(dict.fromkeys(["localhost", "127.0.0.1", host_in_url(bind)]))
    outputs = {"cors_origins": ",".join(f"http://{host}:{port}" for host in hosts)}
    if bind not in WILDCARDS:
        outputs["webui_allowed_hosts"] = ",".join(hosts)
    sections: dict[str, dict[str, str]] = {
        "global": {"check_update": "false", "history_size": str(HISTORY_POINTS)},
        "outputs": outputs,
        "ip": {"public_disabled": "True"},
        **{name: {"disable": "True"} for name in _PLUGINS_OFF},
        "amp_optimizer": {
            "enable": "true",
            "refresh": "2",
            "one_line": "false",
            "command": f'{read} "{status_text}"',
        },
    }
    if passwords:
        sections["passwords"] = {"local_password_path": str(passwords)}
    for name, figures in _COLOURS.items():
        sections[name] = {
            f"{figure}{colour}": str(value)
            for figure, values in figures.items()
            for colour, value in zip(("careful", "warning", "critical"), values, strict=True)
        }
    lines = ["# Written by optimizer; changes are lost."]
    for name, options in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in options.items())]
    return "\n".join(lines) + "\n"


def arguments(
    *, bind: str, port: int, refresh_s: float, config: Path, user: str | None
) -> list[str]:
    """What Glances is called with; `user` logs in, where there is a password."""
    words = ["-w", "-B", bind, "-p", str(port), "-t", f"{refresh_s:g}", "-C", str(config)]
    words += ["--disable-autodiscover", "--disable-check-update", "--disable-config-exec"]
    return [*words, "-u", user] if user else words


def obstacle_installed() -> str | None:
    """Why Glances cannot be started from this installation, with the remedy; None if it can.

    Looks at files only and imports nothing, so it takes no memory.
    """
    importlib.invalidate_caches()
    found = importlib.util.find_spec("glances")
    if found is None or found.origin is None:
        return f"Glances is not installed: {REMEDY}, or set GLANCES_ENABLED=false"
    try:
        text = Path(found.origin).read_text("utf-8", "replace")
    except OSError as exc:
        return f"Glances cannot be read ({exc}): {REMEDY}"
    match = re.search(r"^__version__ = ['\"](\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    version = tuple(map(int, match.groups())) if match else (0,)
    if version < OLDEST:
        return f"Glances {'.'.join(map(str, version))} has known security holes: {REMEDY}"
    for module in ("fastapi", "uvicorn", "jinja2"):
        if importlib.util.find_spec(module) is None:
            return f"Glances lacks its web part ({module}): {REMEDY}"
    return None


def obstacle_port(bind: str, port: int) -> str | None:
    """Why nobody can listen there, with the remedy; None if somebody can."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform == "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                # As the server does: connections that are closing do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((bind, port))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return f"port {port} on {bind} is taken: set GLANCES_PORT to a free port"
        if isinstance(exc, PermissionError):
            return f"port {port} is not allowed to this user: set GLANCES_PORT to 1024 or higher"
        return f"cannot listen on {bind} ({exc}): set GLANCES_BIND to an address of this host"
    return None


def host_in_url(address: str) -> str:
    """The address as it stands in a URL: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address
