"""Who may import whom: the direction of imports, read from the source by `ast`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("optimizer", "stressers", "recover")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# room -> what it may import of ours (prefixes) and of the outside ("stdlib" = all of it).
PURE_STDLIB = {
    "__future__",
    "bisect",
    "calendar",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "math",
    "operator",
    "re",
    "statistics",
    "typing",
}
CONTROL = {"optimizer.control", "optimizer.model", "optimizer.errors"}
LOOP = {"optimizer.control", "optimizer.ports", "optimizer.model", "optimizer.errors"}
ADAPTER = {"optimizer.ports", "optimizer.model", "optimizer.errors", "optimizer.atomic"}
# An adapter that needs two files names its second one here.
PARTS = {
    "optimizer.adapters.glances": {"optimizer.adapters.glances_setup"},
    "optimizer.adapters.history": {"optimizer.adapters.history_file"},
    "optimizer.adapters.log": {"optimizer.adapters.log_file"},
    "optimizer.adapters.stresser_pool": {"optimizer.adapters.stresser_process"},
}
USES_STRESSER_PROTOCOL = {"optimizer.adapters.stresser_process"}


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
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
    path = ROOT.joinpath(*name.split("."))
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


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_room_imports_only_what_its_door_allows(path: Path) -> None:
    """Each file imports only what the rules for its room allow."""
    module, found = module_of(path), imports_of(path)
    foreign, libraries = ours(found) - {module}, outside(found)
    if within(module, {"optimizer.control"}):
        assert all(within(name, CONTROL) for name in foreign), foreign
        tops = {name.split(".")[0] for name in found} - set(PACKAGES)
        allowed = PURE_STDLIB | ({"numpy"} if module == "optimizer.control.forecast" else set())
        assert tops <= allowed, tops - allowed
    elif module in {"optimizer.model", "optimizer.errors", "optimizer.ports"}:
        assert all(within(name, {"optimizer.model", "optimizer.errors"}) for name in foreign)
        assert not libraries
    elif module == "optimizer.loop":
        assert all(within(name, LOOP) for name in foreign), foreign
        assert libraries <= {"structlog"}
    elif within(module, {"optimizer.adapters"}) and module != "optimizer.adapters":
        allowed_ours = ADAPTER | PARTS.get(module, set())
        if module in USES_STRESSER_PROTOCOL:
            allowed_ours = allowed_ours | {"stressers.lease"}
        assert all(within(name, allowed_ours) for name in foreign), foreign
        assert libraries <= {"psutil", "structlog"}, libraries
    elif within(module, {"optimizer.report"}):
        assert not any(within(name, {"optimizer.adapters", "optimizer.loop"}) for name in foreign)
    elif within(module, {"stressers"}):
        assert all(within(name, {"stressers"}) for name in foreign), foreign
        assert not libraries, libraries
    elif within(module, {"recover"}):
        assert all(within(name, {"recover"}) for name in foreign), foreign
        assert not libraries, libraries


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_only_entry_points_import_the_composition_root(path: Path) -> None:
    """`optimizer.app` knows every adapter, so nothing but the command line may know it."""
    if within(module_of(path), {"optimizer.__main__", "optimizer.cli", "optimizer.app"}):
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
    """`except Exception` (or wider) stands once, in loop.py."""
    places = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "BaseException"
                if caught in {"Exception", "BaseException"}:
                    places.append(module_of(path))
    assert places == ["optimizer.loop"]


def test_the_rules_are_checked_on_real_files() -> None:
    """Guards the test itself: the rooms exist and are not empty."""
    modules = {module_of(path) for path in SOURCES}
    assert {"optimizer.control.decide", "optimizer.loop", "stressers.lease"} <= modules
