"""What the Windows service is registered as."""

from __future__ import annotations

import pytest

from optimizer.adapters import windows_plan as plan
from recover.facts import WINDOWS_SERVICE


def test_the_recovery_tool_knows_it_by_this_name() -> None:
    """It asks the service manager for it, and has no other way to know."""
    assert plan.NAME == WINDOWS_SERVICE


def test_its_identity_is_that_of_windows() -> None:
    """The known one of TrustedInstaller, which is on every Windows."""
    known = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert plan.service_sid("TrustedInstaller") == known
    assert plan.service_sid("trustedinstaller") == known


@pytest.mark.parametrize(("code", "expected"), [(78, True), (2, True), (0, False), (1, False)])
def test_a_configuration_fault_is_no_crash(code: int, expected: bool) -> None:
    """A restart would end the same way; all else that fails is started anew."""
    assert plan.ends_for_good(code) is expected


def test_only_who_must_may_write() -> None:
    """The service writes its own directories, not the configuration; users read one of them."""
    own = plan.access_list(writes=True, everybody_reads=False, sid="S-1-5-80-1")
    assert own == "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;S-1-5-80-1)"
    config = plan.access_list(writes=False, everybody_reads=True, sid="S-1-5-80-1")
    assert "0x1301bf" not in config
    assert config.endswith("(A;OICI;0x1200a9;;;S-1-5-80-1)(A;OICI;0x1200a9;;;BU)")


def test_a_path_with_blanks_stays_one_word() -> None:
    r"""An unquoted C:\Program Files\... would let C:\Program.exe be started instead."""
    line = plan.command_line(r"C:\Program Files\P\python.exe", r"C:\s.py", r"C:\a b", r"C:\d")
    assert line == r'"C:\Program Files\P\python.exe" -I C:\s.py "C:\a b" C:\d'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"C:\Users\me\python.exe", False),
        (r"c:/users/me/python.exe", False),
        (r"C:\Users2\python.exe", True),
        (r"C:\Program Files\Python\python.exe", True),
    ],
)
def test_what_the_account_cannot_read_is_seen(path: str, expected: bool) -> None:
    """A Python that was installed for one user lies in that user's folder."""
    assert plan.outside_of_profiles(path, "C:\\Users") is expected
    assert plan.outside_of_profiles(path, "")
