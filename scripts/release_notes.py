"""Moves the files of `changelog.d/` into CHANGELOG.md: `scripts/release_notes.py 0.2.0`, or `--check` to only judge their form."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / "changelog.d"
CHANGELOG = ROOT / "CHANGELOG.md"
MARK = "<!-- releases -->"
KINDS = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed", "security": "Security"}


def fragments(folder: Path) -> list[Path]:
    """The files of single changes, by name."""
    return sorted(path for path in folder.iterdir() if path.name not in {"README.md", ".gitkeep"})


def kind_of(fragment: Path) -> str | None:
    """The kind that the name says; None where the name is not of the form `subject.kind.md`."""
    parts = fragment.name.split(".")
    return parts[1] if len(parts) == 3 and parts[2] == "md" and parts[1] in KINDS else None


def problems(folder: Path) -> list[str]:
    """One line per misnamed or empty file."""
    found = []
    for fragment in fragments(folder):
        if kind_of(fragment) is None:
            found.append(f"changelog.d/{fragment.name}: the name must be subject.kind.md, with a kind of {', '.join(KINDS)}")
        elif not fragment.read_text(encoding="utf-8").strip():
            found.append(f"changelog.d/{fragment.name}: the file is empty")
    return found


def section(version: str, day: dt.date, folder: Path) -> str:
    """The release's part of the changelog."""
    lines = [f"## {version} ({day.isoformat()})", ""]
    for kind, title in KINDS.items():
        texts = [" ".join(path.read_text(encoding="utf-8").split()) for path in fragments(folder) if kind_of(path) == kind]
        if texts:
            lines += [f"### {title}", "", *(f"- {text}" for text in texts), ""]
    return "\n".join(lines)


def main() -> None:
    """Check, or write the release."""
    parser = argparse.ArgumentParser(description="Move the files of changelog.d/ into CHANGELOG.md.")
    parser.add_argument("version", nargs="?", help="the release's number")
    parser.add_argument("--check", action="store_true", help="only judge the files' form")
    options = parser.parse_args()
    if wrong := problems(FRAGMENTS):
        sys.exit("\n".join(wrong))
    if options.check:
        return
    if options.version is None:
        parser.error("which version?")
    changelog = CHANGELOG.read_text(encoding="utf-8")
    if MARK not in changelog:
        sys.exit(f"CHANGELOG.md has lost its line {MARK}")
    today = dt.datetime.now(dt.UTC).date()
    CHANGELOG.write_text(changelog.replace(MARK, f"{MARK}\n\n{section(options.version, today, FRAGMENTS)}", 1), encoding="utf-8")
    for fragment in fragments(FRAGMENTS):
        fragment.unlink()


if __name__ == "__main__":
    main()
