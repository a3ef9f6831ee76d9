"""Sdist and wheel, byte for byte the same from every checkout of a commit: `python -m deploy.pack DIR`.

The archive that setuptools writes tells when, by whom and with which rights the checkout was made. It is
written anew without that, by the commit's time; the wheel is built from what is in it.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def commit_time() -> int:
    """Return when the commit that is checked out was made, in seconds since 1970 (or SOURCE_DATE_EPOCH)."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    told = subprocess.run(("git", "log", "-1", "--format=%ct"), capture_output=True, text=True, check=True)
    return int(told.stdout)


def normalised(archive: bytes, moment: int) -> bytes:
    """Return a .tar.gz with the same files by name, all of one time, nobody's, readable by all."""
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, moment
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(clean, old.extractfile(member) if member.isfile() else None)
    # The file's name and the present time would be in gzip's head.
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=moment) as file:
        file.write(plain.getvalue())
    return packed.getvalue()


def pack(folder: Path) -> list[Path]:
    """Build sdist and wheel of the checkout we are in; return where they are."""
    moment = commit_time()
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder))
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(moment)}
    os.umask(0o022)
    subprocess.run((*build, "--sdist"), env=environ, check=True, stdout=subprocess.DEVNULL)
    (sdist,) = folder.glob("*.tar.gz")
    sdist.write_bytes(normalised(sdist.read_bytes(), moment))
    with tempfile.TemporaryDirectory() as place:
        shutil.unpack_archive(sdist, place, filter="data")
        (source,) = Path(place).iterdir()
        subprocess.run((*build, "--wheel", str(source)), env=environ, check=True, stdout=subprocess.DEVNULL)
    return [sdist, *folder.glob("*.whl")]


if __name__ == "__main__":
    print(*pack(Path(sys.argv[1])), sep="\n")
