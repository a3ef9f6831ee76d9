"""Our own code as it was once, from the repository's history, to run beside today's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "score_service" / "migrations" / "versions"


def git(*words: str) -> bytes:
    """Run git here; skip the test where there is no history to ask."""
    try:
        done = subprocess.run(("git", "-C", str(ROOT), *words), capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the repository's history: {error}")
    return done.stdout


def before_newest_migration(folder: Path) -> Path:
    """Unpack the last commit that did not know the newest migration into `folder`."""
    if Path(git("rev-parse", "--show-toplevel").decode().strip()).resolve() != ROOT.resolve():
        pytest.skip("needs the repository's history: this is no checkout of it")
    if git("rev-parse", "--is-shallow-repository").strip() != b"false":
        pytest.skip("needs the repository's history: this clone is shallow")
    newest = max(MIGRATIONS.glob("[0-9]*.sql")).relative_to(ROOT)
    added = git("log", "-1", "--diff-filter=A", "--format=%H", "--", str(newest)).decode().strip()
    archive = git("archive", "--format=tar", f"{added}^" if added else "HEAD")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def migrate_by(tree: Path, database_url: str) -> None:
    """Bring a database to the newest schema that a tree knows."""
    code = "import sys; from score_service.migrations import migrate; migrate(sys.argv[1])"
    command = (sys.executable, "-P", "-c", code, database_url)
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tree)}, check=True)


def says_it_leaves(tree: Path) -> bool:
    """Say whether a tree's services tell their callers before they stop."""
    return "leave_seconds" in (tree / "shared" / "http.py").read_text()
