"""Take every package index out of Pipfile.lock, so that no lock names one host's registry.

`pipenv sync` then installs from the index that pip itself is configured with; the hashes still hold what is installed.
"""

from __future__ import annotations

import json
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "Pipfile.lock"


def main() -> None:
    """Rewrite the lock in place, with pipenv's own formatting."""
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    lock["_meta"]["sources"] = []
    for section in ("default", "develop"):
        for entry in lock[section].values():
            entry.pop("index", None)
    LOCK.write_text(json.dumps(lock, indent=4, separators=(",", ": "), sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
