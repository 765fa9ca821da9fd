"""Fixtures of the tests that install the program in a rig."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.installed.booted import Booted, booted
from tests.installed.service import BOUNDS, CLONE, REPOSITORY, Service, clone
from tests.paths import CHECKOUT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, Any]:
    """A failure shows the journal of the rig of a fixture, which goes only later."""
    report = yield
    if report.failed and report.when == "call":
        for name, value in getattr(item, "funcargs", {}).items():
            one = value[0] if isinstance(value, tuple) else value
            if isinstance(one, Service):
                report.sections.append((f"rig of {name}", one.rig.told()))
    return report


@dataclass(slots=True, kw_only=True)
class Installation:
    """What installing from a clean clone has left, said and taken."""

    upper: Path
    seconds: dict[str, float] = field(default_factory=dict)
    first: str = ""
    second: str = ""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """The program installed over the Debian tree, from a clean clone, with its own defaults."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("installing from a clone needs a git checkout")
    with booted(bounds=BOUNDS) as rig:
        clone(rig)
        service = Service(rig)
        found = Installation(upper=rig.upper)
        begun_s = time.monotonic()
        rig.run(["git", "clone", "--quiet", REPOSITORY, CLONE])
        found.seconds["cloned"] = time.monotonic() - begun_s
        found.first = service.install()
        found.seconds["installed"] = time.monotonic() - begun_s
        service.wait_until_holding(deadline_s=120)
        found.seconds["holding"] = time.monotonic() - begun_s
        begun_s = time.monotonic()
        found.second = service.install()
        found.seconds["second"] = time.monotonic() - begun_s
        rig.power_off()
        yield found


@pytest.fixture(scope="module")
def service(installation: Installation) -> Iterator[Service]:
    """A rig that has booted with the installed program, which holds its target."""
    with booted(on=installation.upper, bounds=BOUNDS) as rig:
        yield holding(rig)


def holding(rig: Booted, **settings: str) -> Service:
    """The service of a rig with the quick configuration, once it holds."""
    service = Service(rig)
    service.configure(GLANCES_PORT=str(free_port()), **settings)
    # A shorter interval counts only once the one that runs is over.
    service.control("restart", "optimizer")
    service.start()
    return service


def free_port() -> int:
    """A TCP port that nobody listens on; the rig has the host's network."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
