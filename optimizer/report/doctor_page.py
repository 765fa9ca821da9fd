"""Findings about the Glances page: its installation, its port, who can reach it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.report.doctor import Area, Code, Finding, Severity, fine, with_fine


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page as configured, and what is found of it.

    `obstacle` is why this installation cannot start it, `port_obstacle` why
    nobody can listen on its address now; each ends with a remedy after a colon. `taken`
    tells that somebody listens there, `who` is that process, `ours` that it is the daemon's.
    `state` and `message` are what the daemon says, None without one. `answers` is
    whether the page answered, None where it was not asked. `firewall` names
    one that is on.
    """

    enabled: bool
    bind: str
    port: int
    local: bool
    installed: bool = True
    obstacle: str | None = None
    port_obstacle: str | None = None
    taken: bool = False
    who: str | None = None
    ours: bool = False
    state: str | None = None
    message: str = ""
    answers: bool | None = None
    firewall: str | None = None
    file: str | None = None


def page(facts: Page) -> list[Finding]:
    """Whether the page can be had, and by whom."""
    where = f"http://{facts.bind}:{facts.port}"
    if not facts.enabled:
        return [fine(Area.PAGE, "off: GLANCES_ENABLED=false")]
    found: list[Finding] = []
    if facts.obstacle is not None:
        said, _, remedy = facts.obstacle.partition(": ")
        code = Code.GLANCES_UNFIT if facts.installed else Code.GLANCES_MISSING
        found.append(_page(code, Severity.WARNING, f"{said}; the daemon runs without it", remedy))
    if facts.port_obstacle is not None and not facts.ours:
        found.append(_port(facts))
    elif facts.state == "failed" and not found:
        said = f"the daemon could not start the page: {facts.message or 'no message'}"
        found.append(_page(Code.PAGE_FAILED, Severity.WARNING, said, "it is tried again by itself"))
    elif facts.state == "apart" and not facts.taken and not found:
        said = f"nobody listens at {where}, though the page has a unit of its own"
        command = "sudo systemctl restart optimizer-glances; journalctl -u optimizer-glances -n 20"
        remedy = "start it, and see what it says (after a change of GLANCES_*, too)"
        found.append(_page(Code.PAGE_FAILED, Severity.WARNING, said, remedy, command))
    elif facts.state in {"running", "apart"} and facts.answers is False:
        said = f"the page at {where} does not answer, though its process runs"
        remedy = "look again in a few seconds; if it stays so, restart the daemon"
        found.append(_page(Code.PAGE_SILENT, Severity.WARNING, said, remedy))
    if not facts.local and facts.firewall is not None:
        said = f"{facts.firewall} is on and may keep others from port {facts.port}"
        command = _OPEN[facts.firewall].format(port=facts.port)
        finding = _page(
            Code.FIREWALL,
            Severity.NOTE,
            said,
            "see the security group of the cloud too; to open the port here",
            command,
        )
        found.append(finding)
    if facts.state in {"running", "apart"} and facts.answers:
        return with_fine(found, Area.PAGE, f"{where} answers{_reach(facts)}")
    if facts.state is None:
        said = f"Glances is installed, and port {facts.port} on {facts.bind} is free"
        return with_fine(found, Area.PAGE, f"{said}{_reach(facts)}")
    return with_fine(found, Area.PAGE, f"{where}: {facts.message or facts.state}")


def _reach(facts: Page) -> str:
    if not facts.local:
        return ""
    tunnel = f"ssh -L {facts.port}:{facts.bind}:{facts.port} THIS_HOST"
    return f"; from this host only, elsewhere through `{tunnel}`"


def _port(facts: Page) -> Finding:
    said, _, remedy = str(facts.port_obstacle).partition(": ")
    file = f" in {facts.file}" if facts.file else ""
    if facts.taken:
        by = facts.who or "a process that this user cannot see; as root it can be told"
        return _page(
            Code.PORT_TAKEN,
            Severity.WARNING,
            f"port {facts.port} on {facts.bind} is taken by {by}; the daemon runs without its page",
            f"end that program, or write GLANCES_PORT={facts.port + 1}{file}",
        )
    return _page(Code.PORT_UNUSABLE, Severity.WARNING, said, f"{remedy}{file}")


_OPEN = {
    "ufw": "sudo ufw allow {port}/tcp",
    "firewalld": "sudo firewall-cmd --permanent --add-port={port}/tcp && "
    "sudo firewall-cmd --reload",
    "nftables": "sudo nft list ruleset",
}
"""How each firewall is asked to let the page through; nftables has no such single command."""


def _page(
    code: Code, severity: Severity, found: str, remedy: str, command: str | None = None
) -> Finding:
    return Finding(
        area=Area.PAGE,
        code=code,
        severity=severity,
        found=found,
        remedy=remedy,
        command=command,
    )
