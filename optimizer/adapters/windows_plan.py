"""What the Windows service is to be: name, account, recovery, access to its directories; pure."""

from __future__ import annotations

import hashlib
import subprocess

NAME = "CloudResourceOptimizer"
"""The recovery tool knows the service by this name: recover/facts.py."""
DISPLAY_NAME = "Cloud Resource Optimizer"
DESCRIPTION = (
    "Holds this host's CPU, memory and disk utilisation at a target with load that gives way "
    "to all others. `optimizer status` tells what and why; stopping it releases everything."
)
ACCOUNT = f"NT SERVICE\\{NAME}"
"""A virtual account: no password, no rights but a user's, and an identity of its own.

LocalSystem may do anything; LocalService is shared with other services, which
could then end our processes and write our files.
"""
PRIVILEGES = ("SeChangeNotifyPrivilege",)
"""All that its token keeps: to pass through directories, as everybody may."""
RESTART_AFTER_S = (5, 30, 60)
"""After the first, the second and each further crash; reliability beats speed from then on."""
RESET_S = 3600
"""After so long without a crash the count begins anew."""
PRESHUTDOWN_S = 15
"""How long a shutdown waits for the load to be released; it takes about two seconds."""
EXIT_USAGE, EXIT_CONFIG = 2, 78
"""As optimizer/cli/common.py has them."""
ADMINISTRATORS = "BA"
"""Source: SDDL, the group of administrators."""

_FULL, _READ, _MODIFY = "FA", "0x1200a9", "0x1301bf"
"""Source: winnt.h; FILE_ALL_ACCESS, read and execute, the same with write and delete."""


def ends_for_good(code: int) -> bool:
    """Whether a start with the same configuration would end the same way.

    Such an end is reported to the service manager as one, with this code, and
    is not followed by a restart; any other but 0 counts as a crash, and is.
    """
    return code in {EXIT_USAGE, EXIT_CONFIG}


def service_sid(name: str) -> str:
    """The identity of a service: S-1-5-80 and five words of SHA-1 of its name in capitals.

    Source: LookupAccountName of NT SERVICE names, as `sc showsid` prints it.
    """
    digest = hashlib.sha1(name.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    words = (int.from_bytes(digest[at : at + 4], "little") for at in range(0, 20, 4))
    return "-".join(("S-1-5-80", *map(str, words)))


def access_list(*, writes: bool, everybody_reads: bool, sid: str) -> str:
    """Who may do what in a directory and below, as SDDL, with nothing inherited from above.

    The system and administrators: all; the service: read, and write where it
    `writes`; all users: read what `everybody_reads`, for `optimizer status`.
    """
    entries = [("SY", _FULL), ("BA", _FULL), (sid, _MODIFY if writes else _READ)]
    if everybody_reads:
        entries.append(("BU", _READ))
    return "D:PAI" + "".join(f"(A;OICI;{right};;;{who})" for who, right in entries)


def command_line(python: str, shim: str, site: str, data: str) -> str:
    """What the service manager starts: an interpreter without a user's surroundings, our shim.

    -S: nor with the packages of its own, which would come before those of the venv.
    """
    return subprocess.list2cmdline([python, "-I", "-S", shim, site, data])


def outside_of_profiles(path: str, profiles: str) -> bool:
    """Whether a path is not below the users' own folders, which the account may not read."""
    below = path.replace("/", "\\").casefold()
    return not profiles or not below.startswith(profiles.rstrip("\\").casefold() + "\\")
