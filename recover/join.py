"""Joins the files of this folder into recover_system.py, which can be copied alone.

    python3 recover/join.py            write it anew
    python3 recover/join.py --check    exit 1 when it is not what the others make

Imports of one another are dropped, those of the standard library gathered, and
a name that two files define is refused.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import textwrap

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_JOINED = os.path.join(_FOLDER, "recover_system.py")
_FIRST = "command"
"""The file whose main() is run; the others are those that it imports, directly or not."""
_WIDTH = 100
_OURS = re.compile(r"^ +from recover\.\w+ import [^()\n]+\n\n?", re.MULTILINE)
_HEAD = '''#!/usr/bin/env python3
"""{about}

    python3 recover_system.py --help

Made by recover/join.py of the files beside it, each of which is a section
here: change those, not this one.
"""

from __future__ import annotations

import sys

# A folder to which others may write, such as /tmp, must not give this program its modules.
if __name__ == "__main__" and not sys.flags.isolated and not getattr(sys.flags, "safe_path", 0):
    del sys.path[0]

{imports}
'''
_FOOT = """

if __name__ == "__main__":
    sys.exit(main())
"""


def joined() -> str:
    """The text of recover_system.py. Raises ValueError when two files define one name."""
    imports: dict[str, set[str]] = {}
    sections: list[str] = []
    owners: dict[str, str] = {}
    for name in _ordered(_FIRST, []):
        source = _source(name)
        tree = ast.parse(source)
        for defined in _defined(tree.body):
            if owners.setdefault(defined, name) != name:
                raise ValueError(f"{defined} is defined in {owners[defined]} and in {name}")
        body = _without_imports(source, tree, imports)
        sections.append(f"{_title(name, ast.get_docstring(tree) or '')}\n\n\n{body}")
    about = ast.get_docstring(ast.parse(_source(_FIRST))) or ""
    head = _HEAD.format(about=about, imports=_written(imports))
    return head + "\n" + "\n\n".join(sections) + _FOOT


def _title(name: str, about: str) -> str:
    lines = [f"==== {name}.py", *textwrap.wrap(about.partition("\n\n")[0], 96)]
    return "\n".join(f"# {line}" for line in lines)


def _source(name: str) -> str:
    with open(os.path.join(_FOLDER, f"{name}.py"), encoding="utf-8") as file:
        return file.read()


def _ordered(name: str, known: list[str]) -> list[str]:
    """The files that one needs, each after those that it needs itself."""
    for node in ast.walk(ast.parse(_source(name))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recover."):
            other = (node.module or "").split(".")[1]
            if other not in known:
                _ordered(other, known)
    known.append(name)
    return known


def _defined(body: list[ast.stmt]) -> set[str]:
    """The names that a file defines at its top, also under an `if`."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = [leaf for one in targets for leaf in ast.walk(one)]
            found |= {leaf.id for leaf in leaves if isinstance(leaf, ast.Name)}
        elif isinstance(node, ast.If):
            found |= _defined(node.body) | _defined(node.orelse)
    return found


def _without_imports(source: str, tree: ast.Module, imports: dict[str, set[str]]) -> str:
    """The text after the docstring and the imports, which are added to `imports`."""
    last = tree.body[0]
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom):
            if node.module and node.module != "__future__" and not node.module.startswith("rec"):
                imports.setdefault(node.module, set()).update(one.name for one in node.names)
        elif node is not tree.body[0]:
            break
        last = node
    lines = source.splitlines(keepends=True)[last.end_lineno :]
    return _OURS.sub("", "".join(lines)).strip("\n") + "\n"


def _written(imports: dict[str, set[str]]) -> str:
    plain = [f"import {name}" for name in sorted(imports) if not imports[name] and name != "sys"]
    for name in sorted(imports):
        if imports[name]:
            names = sorted(imports[name])
            line = f"from {name} import {', '.join(names)}"
            broken = "".join(f"    {one},\n" for one in names)
            plain.append(line if len(line) <= _WIDTH else f"from {name} import (\n{broken})")
    return "\n".join(plain)


def main() -> int:
    """Write or check; the exit code."""
    text = joined()
    if sys.argv[1:] == ["--check"]:
        with open(_JOINED, encoding="utf-8") as file:
            return int(file.read() != text)
    with open(_JOINED, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(_JOINED, 0o755)  # noqa: S103 - a program, for everybody
    return 0


if __name__ == "__main__":
    sys.exit(main())
