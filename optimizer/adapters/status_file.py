"""What the daemon tells others: status.json for programs, status.txt for the Glances page.

Both are replaced as a whole, so a reader never sees half of one. They lie in
the runtime directory and are not synced: after a power cut they mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from optimizer.atomic import replace_file


class StatusFile:
    """Writes the two files, readable by everybody."""

    def __init__(self, json_path: Path, text_path: Path) -> None:
        self._json_path = json_path
        self._text_path = text_path
        self._written_text: str | None = None

    def write(self, status: Mapping[str, object], text: str) -> str | None:
        """Replace both files; the text only when it has changed since the last call.

        Returns what went wrong, None when nothing did. Never raises for what
        a disk can do; a status that JSON cannot hold counts as a failure too.
        """
        try:
            content = json.dumps(status, allow_nan=False, separators=(",", ":"))
            replace_file(self._json_path, content.encode("ascii") + b"\n", durable=False)
            if text != self._written_text:
                replace_file(self._text_path, text.encode("utf-8"), durable=False)
                self._written_text = text
        except (OSError, TypeError, ValueError) as exc:
            return f"{self._json_path.parent}: {exc}"
        return None


def read(path: Path) -> dict[str, object] | None:
    """The status in a file; None when it is missing, unreadable or not a JSON object."""
    try:
        status = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None
