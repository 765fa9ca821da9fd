"""Which filesystems count as the host's disk, and where space is held."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from optimizer.control.disks import (
    LOCAL_TYPES,
    Scope,
    choose,
    data_disks,
    eligible,
    keep,
    refusal,
)
from optimizer.model import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A mount table line of an ordinary data disk, to be varied."""

    mount: str
    device: str = "/dev/vdb1"
    fstype: str = "ext4"
    options: tuple[str, ...] = ("rw", "relatime")
    is_directory: bool = True
    removable: bool = False
    network: bool = False
    system: bool = False
    thin: bool = False


ROOT = Entry(mount="/", device="/dev/vda1")
DATA = Entry(mount="/data")
USAGE = {"/": 50, "/data": 100, "/big": 200}


def scope_of(*mounts: Entry, data_disk_only: bool = True, path: str | None = None) -> Scope:
    """The choice among these mounts, each with as many bytes as USAGE says, 10 otherwise."""
    usage = {mount.mount: USAGE.get(mount.mount, 10) for mount in mounts}
    return choose(mounts, data_disk_only=data_disk_only, stress_path=path, usage=usage)


def mounts_of(scope: Scope) -> tuple[str, ...]:
    """The mount points that count."""
    return tuple(place.mount for place in scope.places)


def path_of(scope: Scope) -> str | None:
    """The first directory that is held in."""
    return scope.places[0].path if scope.places else None


def names(mounts: tuple[object, ...]) -> list[str]:
    """Mount points in alphabetical order."""
    return sorted(mount.mount for mount in mounts if isinstance(mount, Entry))


@pytest.mark.parametrize("fstype", [*sorted(LOCAL_TYPES), "NTFS", "ReFS"])
def test_local_disk_filesystems_may_be_held(fstype: str) -> None:
    """Every type of the list is accepted, in any letter case."""
    assert refusal(replace(DATA, fstype=fstype)) is None


@pytest.mark.parametrize(
    "fstype",
    [
        *("nfs", "nfs4", "cifs", "ceph", "9p", "virtiofs", "fuse.sshfs", "fuseblk", "overlay"),
        *("tmpfs", "ramfs", "squashfs", "iso9660", "zfs", "vfat", "autofs", "something-new", ""),
    ],
)
def test_any_other_filesystem_is_refused_by_name(fstype: str) -> None:
    """Network, user space, memory, image and unknown types are refused, and the type is told."""
    why = refusal(replace(DATA, fstype=fstype))
    assert why is not None
    assert (fstype or "unknown") in why


@pytest.mark.parametrize(
    ("mount", "word"),
    [
        (replace(DATA, options=("ro", "relatime")), "read-only"),
        (replace(DATA, removable=True), "removable"),
        (replace(DATA, network=True, fstype="NTFS"), "network"),
        (replace(DATA, is_directory=False), "file"),
        (replace(DATA, device="/dev/zram0"), "memory"),
        (replace(DATA, mount="/System/Volumes/VM", fstype="apfs"), "macOS"),
    ],
)
def test_a_known_type_is_refused_for_what_it_stands_on(mount: Entry, word: str) -> None:
    """Read-only, removable, remote, file and memory-backed mounts are refused with the cause."""
    assert word in (refusal(mount) or "")


def test_an_option_that_only_begins_like_read_only_is_no_obstacle() -> None:
    """`ro` counts as a whole word: `errors=remount-ro` and `rootcontext` are common."""
    assert refusal(replace(DATA, options=("rw", "errors=remount-ro", "rootcontext=x"))) is None


def test_one_device_counts_once() -> None:
    """Bind mounts and btrfs subvolumes share free space; the shortest path stands for them."""
    subvolumes = [replace(DATA, mount=path, fstype="btrfs") for path in ("/srv/b", "/a", "/srv/a")]
    assert names(eligible(subvolumes)) == ["/a"]


def test_volumes_of_one_apfs_container_count_once() -> None:
    """On macOS all volumes of a container share its free space."""
    volumes = [
        Entry(mount="/Volumes/x", device="/dev/disk3s7", fstype="apfs"),
        Entry(mount="/System/Volumes/Data", device="/dev/disk3s5", fstype="apfs"),
        Entry(mount="/Volumes/usb", device="/dev/disk4s1", fstype="apfs"),
    ]
    assert names(eligible(volumes)) == ["/Volumes/usb", "/Volumes/x"]


def test_of_two_mounts_on_one_point_the_later_counts() -> None:
    """An NFS share mounted over /data hides the disk below it."""
    hidden = [DATA, replace(DATA, device="server:/x", fstype="nfs4")]
    assert eligible(hidden) == ()


@pytest.mark.parametrize(
    "mount",
    [
        *("/boot", "/boot/efi", "/efi", "/usr", "/usr/local", "/var", "/var/cache", "/opt", "/etc"),
        "/tmp",  # noqa: S108 - a mount point's name, nothing is written there
        *("/etc/hosts", "/proc/x", "/sys/x", "/dev/x", "/run/x", "/snap/core/1", "/var/log/audit"),
        *("/var/lib/docker", "/var/lib/containerd/x", "/var/lib/kubelet/pods/1/volumes/v"),
    ],
)
def test_system_mounts_are_no_data_disks(mount: str) -> None:
    """A disk of its own below a system directory still belongs to the system."""
    assert data_disks([ROOT, replace(DATA, mount=mount)]) == ()


@pytest.mark.parametrize("file", ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"])
def test_in_a_container_the_engines_disk_is_the_systems(file: str) -> None:
    """Over an overlay root only the engine's files tell it; a volume from there is no data disk."""
    root = Entry(mount="/", device="overlay", fstype="overlay")
    engine = Entry(mount=file, device="/dev/vda1", is_directory=False)
    state = Entry(mount="/var/lib/optimizer", device="/dev/vda1")
    assert names(data_disks([root, engine, state, DATA])) == ["/data"]
    assert names(data_disks([root, state])) == ["/var/lib/optimizer"]


def test_a_directory_of_a_disk_that_is_bound_into_a_pod_may_be_named() -> None:
    """A hostPath volume shows the node's device and type at a point of its own."""
    root = Entry(mount="/", device="overlay", fstype="overlay")
    bound = Entry(mount="/host/disk", device="/dev/mapper/vg-data", fstype="xfs")
    scope = scope_of(root, bound, path="/host/disk")
    assert (mounts_of(scope), path_of(scope), scope.reason) == (
        ("/host/disk",),
        "/host/disk",
        None,
    )


@pytest.mark.parametrize("mount", ["/home", "/data", "/mnt", "/var/lib/mysql", "/opt/app", "/srv"])
def test_a_disk_of_its_own_elsewhere_is_a_data_disk(mount: str) -> None:
    """Any other separate filesystem is a data disk, /home included."""
    assert names(data_disks([ROOT, replace(DATA, mount=mount)])) == [mount]


def test_a_name_that_only_begins_like_a_system_directory_is_no_system_mount() -> None:
    """/devices is not below /dev."""
    assert names(data_disks([ROOT, replace(DATA, mount="/devices")])) == ["/devices"]


def test_a_mount_of_the_root_device_is_no_data_disk() -> None:
    """A bind mount or subvolume of the system's own disk adds no disk."""
    assert data_disks([ROOT, replace(ROOT, mount="/data")]) == ()


def test_the_device_of_var_is_the_systems_where_root_is_an_overlay() -> None:
    """Image-based systems mount an overlay on / and their disk on /var."""
    overlay = Entry(mount="/", device="overlay", fstype="overlay")
    var = Entry(mount="/var", device="/dev/vda4")
    assert data_disks([overlay, var, replace(var, mount="/data")]) == ()


def test_a_data_disk_bound_to_a_container_engines_directory_remains_one() -> None:
    """The shorter or system path of the same device does not take the data disk away."""
    bound = [ROOT, replace(DATA, mount="/opt"), DATA, replace(DATA, mount="/var/lib/docker")]
    assert names(data_disks(bound)) == ["/data"]


def test_the_windows_system_drive_is_no_data_disk() -> None:
    """C: holds the system, D: is data."""
    system = Entry(mount="C:\\", device="C:\\", fstype="NTFS", system=True)
    data = Entry(mount="D:\\", device="D:\\", fstype="NTFS")
    assert names(data_disks([system, data])) == ["D:\\"]


def test_space_is_held_on_all_data_disks() -> None:
    """All data disks count and are held on; the one with the most available bytes comes first."""
    big = Entry(mount="/big", device="/dev/vdc")
    scope = scope_of(ROOT, DATA, big)
    assert mounts_of(scope) == ("/big", "/data")
    assert (path_of(scope), scope.reason) == ("/big", None)


def test_the_root_filesystem_counts_only_when_asked_for() -> None:
    """Without DATA_DISK_ONLY the system's disk is one of the disks."""
    assert mounts_of(scope_of(ROOT, DATA, data_disk_only=False)) == ("/data", "/")
    assert mounts_of(scope_of(ROOT, DATA)) == ("/data",)


def test_a_host_without_data_disk_says_so_and_names_the_keys() -> None:
    """Only the root filesystem: nothing is held, and the note says what to set."""
    scope = scope_of(ROOT)
    assert (mounts_of(scope), path_of(scope), scope.reason) == ((), None, Reason.NO_DATA_DISK)
    assert "DATA_DISK_ONLY=false" in scope.note
    assert "DISK_STRESS_PATH" in scope.note


def test_a_host_without_any_usable_filesystem_says_why() -> None:
    """Nothing eligible at all is another reason, and the refused devices are named."""
    scope = scope_of(replace(ROOT, fstype="zonefs"), Entry(mount="/x", device="t", fstype="tmpfs"))
    assert (mounts_of(scope), scope.reason) == ((), Reason.NO_DISK)
    assert "zonefs" in scope.note
    assert "tmpfs" not in scope.note


def test_a_filesystem_that_cannot_be_read_does_not_count() -> None:
    """A mount without known free space is left out; alone it leaves no disk."""
    big = Entry(mount="/big", device="/dev/vdc")
    some = choose([DATA, big], data_disk_only=True, stress_path=None, usage={"/data": 1})
    none = choose([DATA], data_disk_only=True, stress_path=None, usage={})
    assert mounts_of(some) == ("/data",)
    assert (mounts_of(none), none.reason) == ((), Reason.NO_DISK)
    assert "/data" in none.note


def test_the_named_path_decides_alone() -> None:
    """Only the filesystem under DISK_STRESS_PATH counts, and the path itself is held in."""
    big = Entry(mount="/big", device="/dev/vdc")
    scope = scope_of(ROOT, big, DATA, path="/data/load")
    assert (mounts_of(scope), path_of(scope), scope.reason) == (("/data",), "/data/load", None)


def test_the_named_path_may_be_on_the_root_filesystem() -> None:
    """An explicit path wins over DATA_DISK_ONLY; /database is not on /data; the note warns."""
    scope = scope_of(ROOT, DATA, path="/database")
    assert (mounts_of(scope), path_of(scope)) == (("/",), "/database")
    assert "system" in scope.note


def test_the_longest_mount_point_holds_the_named_path() -> None:
    """A mount inside another one takes the path."""
    inner = Entry(mount="/data/inner", device="/dev/vdc")
    assert mounts_of(scope_of(inner, ROOT, DATA, path="/data/inner")) == ("/data/inner",)
    assert mounts_of(scope_of(inner, ROOT, DATA, path="/data/inn")) == ("/data",)


def test_a_named_path_on_a_network_filesystem_is_refused_by_name() -> None:
    """The note names key, path, mount, type and what to do; the disk below is not used instead."""
    share = Entry(mount="/data", device="server:/export", fstype="nfs4")
    scope = scope_of(ROOT, share, path="/data/load")
    assert (mounts_of(scope), path_of(scope), scope.reason) == ((), None, Reason.NO_DISK)
    for word in ("DISK_STRESS_PATH=/data/load", "on /data,", "nfs4", "local"):
        assert word in scope.note


def test_a_named_path_on_windows_ignores_case_and_slashes() -> None:
    r"""d:/load lies on D:\, and a path on no known drive is refused."""
    drives = [Entry(mount="C:\\", fstype="NTFS"), Entry(mount="D:\\", device="D", fstype="NTFS")]
    assert mounts_of(scope_of(*drives, path="d:/load")) == ("D:\\",)
    refused = scope_of(*drives, path="Z:\\load")
    assert (refused.reason, mounts_of(refused)) == (Reason.NO_DISK, ())
    assert "Z:\\load" in refused.note


BIG = Entry(mount="/big", device="/dev/vdc1")


def test_an_unmounted_named_path_does_not_fall_through_to_the_disk_below() -> None:
    """DISK_STRESS_PATH=/data/x with /data gone: nothing is held, and it is back with the disk."""
    named = scope_of(ROOT, DATA, path="/data/x")
    assert path_of(named) == "/data/x"
    gone = keep(scope_of(ROOT, path="/data/x"), named)
    assert (path_of(gone), gone.reason, mounts_of(gone)) == (None, Reason.NO_DISK, ())
    assert "/data" in gone.note
    still_gone = keep(scope_of(ROOT, path="/data/x"), gone)
    assert path_of(still_gone) is None
    back = keep(scope_of(ROOT, DATA, path="/data/x"), still_gone)
    assert path_of(back) == "/data/x"


def test_a_named_disk_that_became_read_only_says_so_and_stays_the_place() -> None:
    """Refused for what it is; unmounted after that, the path does not fall to the disk below."""
    named = scope_of(ROOT, DATA, path="/data/x")
    broken = replace(DATA, options=("rw", "emergency_ro"))
    refused = keep(scope_of(ROOT, broken, path="/data/x"), named)
    assert (refused.reason, refused.places) == (Reason.NO_DISK, ())
    assert "read-only" in refused.note
    gone = keep(scope_of(ROOT, path="/data/x"), refused)
    assert gone.places == ()
    assert path_of(keep(scope_of(ROOT, DATA, path="/data/x"), gone)) == "/data/x"


def test_a_newly_named_path_is_taken_as_it_is() -> None:
    """A reload that names another path is not held back by where the former one was."""
    former = scope_of(ROOT, DATA, path="/data/x")
    assert path_of(keep(scope_of(ROOT, DATA, path="/srv"), former)) == "/srv"
    assert path_of(keep(scope_of(ROOT, DATA), former)) == "/data"


@pytest.mark.parametrize(
    ("mount", "word"),
    [
        (replace(DATA, removable=True), "removable"),
        (replace(DATA, thin=True), "thin"),
        (replace(DATA, fstype="overlay"), "overlay"),
        (replace(DATA, fstype="NFS4"), "nfs4"),
        (replace(DATA, fstype="fuse.sshfs"), "fuse.sshfs"),
        (replace(DATA, fstype="tmpfs"), "tmpfs"),
        (replace(DATA, fstype="zfs"), "zfs"),
    ],
)
def test_an_explicit_word_allows_what_is_refused(mount: Entry, word: str) -> None:
    """Refused without the word in DISK_ALLOW, allowed with it, and no other word helps."""
    assert refusal(mount) is not None
    assert refusal(mount, frozenset({word})) is None
    assert refusal(mount, frozenset({"ext4", "other"})) is not None
    usage = {"/data": 1}
    scope = choose(
        [mount], data_disk_only=True, stress_path=None, usage=usage, allowed=frozenset({word})
    )
    assert mounts_of(scope) == ("/data",)


def test_nothing_allows_a_read_only_filesystem() -> None:
    """There is no word for what cannot be done at all."""
    words = frozenset({"ext4", "removable", "thin", "ro"})
    assert refusal(replace(DATA, options=("ro",)), words) is not None
