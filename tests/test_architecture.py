"""Who may import whom: the direction of imports, read from the source by `ast`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.paths import CODE

PACKAGES = ("optimizer", "stressers", "recover")
SOURCES = sorted(path for package in PACKAGES for path in (CODE / package).rglob("*.py"))

PURE_STDLIB = {
    "__future__",
    "array",
    "bisect",
    "calendar",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "types",
    "statistics",
    "typing",
}
VALUES = {
    "optimizer.counters",
    "optimizer.errors",
    "optimizer.model",
    "optimizer.orders",
    "optimizer.outcome",
}
SETTINGS = {
    "optimizer.schedule",
    "optimizer.settings",
    "optimizer.settings_file",
    "optimizer.settings_keys",
}
DOORS = {"optimizer.control", "optimizer.ports"}
# room -> which modules of ours, and which libraries, it may import; the longest name counts.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "optimizer.counters": (set(), set()),
    "optimizer.model": (VALUES, set()),
    "optimizer.orders": (VALUES, set()),
    "optimizer.outcome": (VALUES, set()),
    "optimizer.errors": (VALUES, set()),
    "optimizer.ports": (VALUES, set()),
    "optimizer.control": ({"optimizer.control"} | VALUES, set()),
    "optimizer.control.forecast": ({"optimizer.control"} | VALUES, {"numpy"}),
    "optimizer.loop": ({"optimizer.record"} | DOORS | VALUES, {"structlog"}),
    "optimizer.record": ({"optimizer.chronicle", "optimizer.planning"} | DOORS | VALUES, set()),
    "optimizer.planning": (DOORS | VALUES, set()),
    "optimizer.chronicle": (DOORS | VALUES, set()),
    "optimizer.adapters": (
        {"optimizer.ports", "optimizer.atomic"} | VALUES,
        {"psutil", "structlog"},
    ),
    "optimizer.adapters.windows_scm": (
        VALUES,
        {"pywintypes", "servicemanager", "win32api", "win32con", "win32security", "win32service"},
    ),
    "optimizer.adapters.windows_service": (
        VALUES,
        {"pywintypes", "servicemanager", "win32service", "win32serviceutil"},
    ),
    "optimizer.report": (
        {"optimizer.report", "optimizer.control", "optimizer.durations", "optimizer.simulate"}
        | VALUES,
        {"numpy"},
    ),
    "optimizer.atomic": (set(), set()),
    "optimizer.tether": (set(), set()),
    "optimizer.installed": (set(), set()),
    "optimizer.directories": (VALUES, set()),
    "optimizer.durations": (set(), set()),
    "optimizer.schedule": ({"optimizer.durations"} | VALUES, {"cronsim"}),
    "optimizer.maintenance": ({"optimizer.schedule"} | DOORS | VALUES, set()),
    "optimizer.settings": (SETTINGS | VALUES, set()),
    "optimizer.settings_salvage": (SETTINGS | VALUES, set()),
    "optimizer.settings_keys": (SETTINGS | VALUES, set()),
    "optimizer.settings_file": (SETTINGS | VALUES, {"dotenv"}),
    "optimizer.publish": ({"optimizer.report", "optimizer.ports"} | VALUES, set()),
    "optimizer.upkeep": ({"optimizer.settings"} | DOORS | VALUES, set()),
    "optimizer.derive": (
        {
            "optimizer.adapters.filler_directories",
            "optimizer.adapters.memory_scope",
            "optimizer.adapters.mounts",
            "optimizer.adapters.platform",
            "optimizer.settings",
            "optimizer.upkeep",
        }
        | DOORS
        | VALUES,
        set(),
    ),
    "optimizer.examine": (
        {
            "optimizer.adapters",
            "optimizer.control",
            "optimizer.derive",
            "optimizer.directories",
            "optimizer.examine",
            "optimizer.maintenance",
            "optimizer.report",
        }
        | SETTINGS
        | VALUES,
        set(),
    ),
    "optimizer.trace": (VALUES, set()),
    "optimizer.simulate": (DOORS | VALUES, set()),
    "optimizer.app": ({"optimizer"}, set()),
    "optimizer.cli": ({"optimizer"}, set()),
    "optimizer.cli.metrics": ({"optimizer"}, {"prometheus_client"}),
    "optimizer.__main__": ({"optimizer"}, set()),
    "stressers": ({"stressers"}, set()),
    "recover": ({"recover"}, set()),
}
# An adapter that needs two files names its second one here.
PARTS = {
    "optimizer.adapters.glances": {"optimizer.adapters.glances_setup"},
    "optimizer.adapters.glances_unit": {"optimizer.adapters.glances_setup"},
    "optimizer.adapters.history": {
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_past",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_means",
    },
    "optimizer.adapters.history_account": {
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_reading",
        "optimizer.adapters.history_sound",
    },
    "optimizer.adapters.history_backup": {
        "optimizer.adapters.foreign",
        "optimizer.adapters.history_archive",
        "optimizer.adapters.history_expiry",
        "optimizer.adapters.history_manifest",
        "optimizer.adapters.history_snapshot",
        "optimizer.adapters.instance_lock",
    },
    "optimizer.adapters.history_expiry": {
        "optimizer.adapters.history_archive",
        "optimizer.adapters.history_manifest",
    },
    "optimizer.adapters.history_archive": {"optimizer.adapters.history_manifest"},
    "optimizer.adapters.history_kept": {
        "optimizer.adapters.history_archive",
        "optimizer.adapters.history_file",
    },
    "optimizer.adapters.history_restore": {
        "optimizer.adapters.history_archive",
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_kept",
        "optimizer.adapters.history_manifest",
        "optimizer.adapters.history_snapshot",
    },
    "optimizer.adapters.orphans": {"optimizer.adapters.identity"},
    "optimizer.adapters.history_snapshot": {
        "optimizer.adapters.history_archive",
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_manifest",
    },
    "optimizer.adapters.history_file": {
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_sound",
    },
    "optimizer.adapters.history_import": {
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_sound",
    },
    "optimizer.adapters.history_means": {
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_sound",
    },
    "optimizer.adapters.history_past": {"optimizer.adapters.history_sound"},
    "optimizer.adapters.history_reading": {
        "optimizer.adapters.history_events",
        "optimizer.adapters.history_past",
        "optimizer.adapters.history_file",
        "optimizer.adapters.history_means",
        "optimizer.adapters.history_sound",
    },
    "optimizer.adapters.history_sources": {
        "optimizer.adapters.history_text",
        "optimizer.adapters.sysstat",
        "optimizer.adapters.sysstat_rows",
    },
    "optimizer.adapters.node_exporter": {
        "optimizer.adapters.foreign_row",
        "optimizer.adapters.history_text",
        "optimizer.adapters.prometheus",
    },
    "optimizer.adapters.prometheus": {"optimizer.adapters.history_text"},
    "optimizer.adapters.systemd_service": {
        "optimizer.adapters.placed_files",
        "optimizer.adapters.systemctl",
    },
    "optimizer.adapters.sysstat": {"optimizer.adapters.history_text"},
    "optimizer.adapters.sysstat_rows": {
        "optimizer.adapters.foreign_row",
        "optimizer.adapters.history_text",
        "optimizer.adapters.sysstat",
    },
    "optimizer.adapters.idle_group": {
        "optimizer.adapters.cgroups",
        "optimizer.adapters.identity",
        "optimizer.adapters.mark",
        "optimizer.adapters.mountinfo",
    },
    "optimizer.adapters.windows_scm": {"optimizer.adapters.windows_plan"},
    "optimizer.adapters.windows_service": {"optimizer.adapters.windows_plan"},
    "optimizer.adapters.dying": {"optimizer.adapters.stresser_process"},
    "optimizer.adapters.instance_lock": {"optimizer.adapters.identity"},
    "optimizer.adapters.mark": {"optimizer.adapters.identity"},
    "optimizer.adapters.roster": {"optimizer.adapters.identity"},
    "optimizer.adapters.pulse": {"optimizer.adapters.identity"},
    "optimizer.adapters.stresser_process": {
        "optimizer.adapters.identity",
        "optimizer.adapters.pulse",
        "optimizer.adapters.stresser_reports",
        "optimizer.adapters.stresser_windows",
    },
    "optimizer.adapters.log": {"optimizer.adapters.log_file"},
    "optimizer.adapters.cgroups": {"optimizer.adapters.mountinfo"},
    "optimizer.adapters.cpu_scope": {
        "optimizer.adapters.cgroups",
        "optimizer.adapters.kernel_file",
        "optimizer.adapters.mountinfo",
    },
    "optimizer.adapters.disk_sensor": {"optimizer.adapters.mountinfo"},
    "optimizer.adapters.memory_scope": {
        "optimizer.adapters.cgroups",
        "optimizer.adapters.kernel_file",
        "optimizer.adapters.mountinfo",
    },
    "optimizer.adapters.memory_sensor": {
        "optimizer.adapters.kernel_file",
        "optimizer.adapters.memory_scope",
        "optimizer.adapters.windows_memory",
    },
    "optimizer.adapters.sensors": {
        "optimizer.adapters.cpu_scope",
        "optimizer.adapters.disk_sensor",
        "optimizer.adapters.kernel_file",
        "optimizer.adapters.memory_scope",
        "optimizer.adapters.memory_sensor",
        "optimizer.adapters.steady",
    },
    "optimizer.adapters.releases": {
        "optimizer.adapters.deadline",
        "optimizer.adapters.identity",
        "optimizer.adapters.steady",
    },
    "optimizer.adapters.switch": {
        "optimizer.adapters.deadline",
        "optimizer.adapters.identity",
        "optimizer.adapters.releases",
        "optimizer.adapters.steady",
    },
    "optimizer.adapters.stresser_pool": {
        "optimizer.adapters.dying",
        "optimizer.adapters.roster",
        "optimizer.adapters.stresser_process",
        "optimizer.adapters.stresser_states",
    },
    "optimizer.adapters.stresser_states": {
        "optimizer.adapters.roster",
        "optimizer.adapters.stresser_process",
    },
}
USES_STRESSER_PROTOCOL = {"optimizer.adapters.stresser_process", "optimizer.examine.stressers"}


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(CODE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """All modules that a file imports, also inside functions; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            modules = {name for name in names if _is_module(name)}
            found |= modules or {base}
    return found


def _is_module(name: str) -> bool:
    path = CODE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def within(name: str, rooms: set[str]) -> bool:
    """Whether a module is one of the rooms or inside one."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def ours(names: set[str]) -> set[str]:
    """Those that belong to this project."""
    return {name for name in names if name.split(".")[0] in PACKAGES}


def outside(names: set[str]) -> set[str]:
    """Top-level names of what is neither ours nor standard library."""
    tops = {name.split(".")[0] for name in names}
    return tops - set(PACKAGES) - set(sys.stdlib_module_names)


def room_of(module: str) -> str | None:
    """The room that a module is in; None when it is in no room."""
    return max((room for room in ROOMS if within(module, {room})), key=len, default=None)


def broad_catches(source: str) -> int:
    """How often a source catches or suppresses `Exception` or wider."""
    found = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = [node.type] if node.type else [ast.Name("BaseException")]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = list(node.args)
        else:
            continue
        names = [ast.unparse(name) for kind in caught for name in _alternatives(kind)]
        found += bool({name.removeprefix("builtins.") for name in names} & BROAD)
    return found


BROAD = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}


def _alternatives(kind: ast.expr) -> list[ast.expr]:
    inner = kind.value if isinstance(kind, ast.Starred) else kind
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_room_imports_only_what_its_door_allows(path: Path) -> None:
    """Each file is in a room, and imports only what the rules for that room allow."""
    module, found = module_of(path), imports_of(path)
    foreign, libraries = ours(found) - {module}, outside(found)
    if path.name == "__init__.py":
        assert not foreign | libraries, "the door of a package is empty"
        return
    room = room_of(module)
    assert room is not None, f"{module} is in no room: say in ROOMS what it may import"
    may_import, may_use = ROOMS[room]
    may_import = may_import | PARTS.get(module, set())
    if module in USES_STRESSER_PROTOCOL:
        may_import = may_import | {"stressers.lease"}
    assert all(within(name, may_import) for name in foreign), foreign
    assert libraries <= may_use, libraries


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_control_uses_only_the_pure_part_of_the_standard_library(path: Path) -> None:
    """No clock, no chance, no file and no process is within the reach of control."""
    module = module_of(path)
    if within(module, {"optimizer.control"}):
        tops = {name.split(".")[0] for name in imports_of(path)} - set(PACKAGES)
        libraries = ROOMS[room_of(module) or ""][1]
        assert tops <= PURE_STDLIB | libraries, tops


def test_a_module_in_no_room_is_found() -> None:
    """Guards the test itself: a name that merely begins like a room is not in it."""
    assert room_of("optimizer.control.track") == "optimizer.control"
    assert room_of("optimizer.control.resource") == "optimizer.control"
    assert room_of("optimizer.control.forecast") == "optimizer.control.forecast"
    assert room_of("optimizer.settings_keys") == "optimizer.settings_keys"
    assert room_of("optimizer.controlled") is None
    assert room_of("optimizer.utils") is None


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_only_entry_points_import_the_composition_root(path: Path) -> None:
    """`optimizer.app` knows every adapter, so only a command that reads sensors pays for it."""
    if module_of(path) in {"optimizer.cli.run", "optimizer.cli.plan", "optimizer.app"}:
        return
    assert "optimizer.app" not in imports_of(path)


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_psutil_and_structlog_stay_at_the_edge(path: Path) -> None:
    """Psutil and structlog are imported by adapters only (structlog also by the loop)."""
    module, libraries = module_of(path), outside(imports_of(path))
    if within(module, {"optimizer.adapters"}):
        return
    assert "psutil" not in libraries
    if module != "optimizer.loop":
        assert "structlog" not in libraries


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_numpy_is_never_imported_at_module_level(path: Path) -> None:
    """The resident process must not pay for numpy: it is imported inside functions only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tops = {
        name.split(".")[0]
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "numpy" not in tops


def test_there_is_one_broad_except_and_it_is_in_the_loop() -> None:
    """`except Exception` (or wider, or suppressed) stands once, in loop.py."""
    places = [
        module_of(path)
        for path in SOURCES
        for _ in range(broad_catches(path.read_text(encoding="utf-8")))
    ]
    assert places == ["optimizer.loop"]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("try: f()\nexcept OSError: pass", 0),
        ("try: f()\nexcept Exception: pass", 1),
        ("try: f()\nexcept: pass", 1),
        ("try: f()\nexcept (OSError, Exception): pass", 1),
        ("try: f()\nexcept builtins.BaseException as exc: pass", 1),
        ("try: f()\nexcept* Exception: pass", 1),
        ("with suppress(OSError, ValueError): f()", 0),
        ("with suppress(Exception): f()", 1),
        ("with contextlib.suppress(OSError, BaseException): f()", 1),
        ("with suppress(*(OSError, Exception)): f()", 1),
    ],
)
def test_each_way_to_catch_all_is_seen(source: str, count: int) -> None:
    """Guards the test itself: handlers, tuples and `suppress` alike."""
    assert broad_catches(source) == count


def test_the_rules_are_checked_on_real_files() -> None:
    """Guards the test itself: the rooms exist and are not empty."""
    modules = {module_of(path) for path in SOURCES}
    assert {"optimizer.control.decide", "optimizer.loop", "stressers.lease"} <= modules
