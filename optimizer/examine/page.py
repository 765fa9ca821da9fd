"""Looks at the Glances page: what is installed, who listens on its port, whether it answers."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from optimizer.adapters.glances import UNIT
from optimizer.adapters.glances_setup import (
    WILDCARDS,
    host_in_url,
    obstacle_installed,
    obstacle_port,
)
from optimizer.examine import processes
from optimizer.examine.subject import Subject
from optimizer.report.doctor import Finding
from optimizer.report.doctor_daemon import STALE_S
from optimizer.report.doctor_page import Page, page
from optimizer.settings_keys import is_loopback

ANSWER_S = 2.0


def examine_page(subject: Subject) -> list[Finding]:
    """Whether the page can be had, and by whom."""
    settings = subject.settings
    bind, port = settings.glances_bind, settings.glances_port
    facts = Page(enabled=False, bind=bind, port=port, local=is_loopback(bind))
    if not settings.glances_enabled:
        return page(facts)
    live = subject.live_status(STALE_S)
    told = None if live is None else live.get("glances")
    state = str(told.get("state")) if isinstance(told, dict) else None
    message = str(told.get("message") or "") if isinstance(told, dict) else ""
    obstacle = obstacle_port(bind, port)
    taken = obstacle is not None and " is taken" in obstacle
    listener = processes.listener(port) if taken else None
    ours = taken and listener is not None and _is_ours(listener, subject.pid)
    file = subject.loaded.file
    return page(
        Page(
            enabled=True,
            bind=bind,
            port=port,
            local=is_loopback(bind),
            installed=importlib.util.find_spec("glances") is not None,
            obstacle=obstacle_installed(),
            port_obstacle=obstacle,
            taken=taken,
            who=None if listener is None else processes.described(listener),
            # Another user's page cannot be looked into: then the daemon is believed.
            ours=ours
            or (taken and listener is None and state in {"running", "apart"})
            or (listener is not None and state == "apart" and _is_units(listener)),
            state=state,
            message=message,
            answers=_answers(bind, port)
            if (state == "running" and not message) or (state == "apart" and taken)
            else None,
            firewall=_firewall(),
            file=None if file is None else str(file),
        )
    )


def _is_ours(listener: int, daemon: int | None) -> bool:
    return daemon is not None and processes.descends(listener, daemon)


def _is_units(listener: int) -> bool:
    """Whether a process is in the control group of the page's unit."""
    try:
        groups = Path(f"/proc/{listener}/cgroup").read_text("utf-8", "replace")
    except OSError:
        return False
    return f"/{UNIT}\n" in groups


def _answers(bind: str, port: int) -> bool:
    host = "127.0.0.1" if bind in WILDCARDS else host_in_url(bind)
    # Never through a proxy, which the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/", timeout=ANSWER_S):
            return True
    except urllib.error.HTTPError:
        return True  # it asks for the password
    except (OSError, ValueError):
        return False


def _firewall() -> str | None:
    """A firewall that is on, as far as this user may see."""
    if sys.platform != "linux":
        return None
    try:
        if "ENABLED=yes" in Path("/etc/ufw/ufw.conf").read_text("utf-8", "replace"):
            return "ufw"
    except OSError:
        pass
    if shutil.which("firewall-cmd") and Path("/run/firewalld").exists():
        return "firewalld"
    return None
