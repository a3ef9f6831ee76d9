"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click

Existing = click.Path(exists=True, dir_okay=False, path_type=Path)
Fresh = click.Path(dir_okay=False, path_type=Path)


def local(name: str) -> Path:
    """Return the path of a file in the local data directory."""
    return Path(os.environ.get("LOCAL_DATA_DIR", ".local")) / name
