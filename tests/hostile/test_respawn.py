"""A real daemon whose stressers are broken: counted by what they write themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.paths import CODE, ROOT, checkout
from tests.rig import PROGRAM, daemon, eventually
from tests.simulation.test_respawn import checked

BROKEN = """
import os, time
with open(os.environ["SPAWNED"], "a") as file:
    file.write(f"{time.monotonic()}\\n")
raise SystemExit(1)
"""


ROOMY = ("-m", "tests.hostile.altered_daemon", '{"roomy": true}')


@pytest.mark.skipif(sys.platform != "linux", reason="one clock for all processes")
@pytest.mark.parametrize(
    ("resource", "program"),
    # The daemon looks at the memory of a calm host less often than at the CPU.
    [("cpu", ROOMY), pytest.param("memory", PROGRAM, marks=pytest.mark.long)],
)
def test_a_stresser_that_ends_at_once_trips_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resource: str, program: tuple[str, ...]
) -> None:
    """A broken installation: at most one start a second, five in all, then only after a resume."""
    copy, spawned = tmp_path / "copy", tmp_path / "spawned"
    checkout(copy, "stressers")
    (copy / "optimizer").symlink_to(CODE / "optimizer")
    (copy / "tests").symlink_to(ROOT / "tests")
    (copy / "stressers/__main__.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.setenv("SPAWNED", str(spawned))
    monkeypatch.chdir(copy)

    def times_s() -> list[float]:
        return [float(line) for line in spawned.read_text(encoding="ascii").split()]

    targets = {"TARGET_CPU": "0", f"TARGET_{resource.upper()}": "60"}
    with daemon(tmp_path / "work", program=program, **targets) as rig:

        def tripped() -> bool:
            found: bool = rig.resource(resource).get("reason") == "stresser_tripped"
            return found

        eventually(tripped, deadline_s=40)
        before = checked(times_s())
        assert before == 5
        assert "exit code 1" in str(rig.resource(resource)["note"])
        assert "optimizer resume" in rig.command("status").stdout
        assert rig.command("resume").returncode == 0
        eventually(lambda: len(times_s()) > before)
        assert rig.stop() == 0
    assert "stresser.tripped" in rig.said()
