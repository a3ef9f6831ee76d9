"""What is released is the same, byte for byte, whoever builds it, wherever, whenever."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.pack import normalised

ROOT = Path(__file__).parent.parent.parent


def cloned(clone: Path, umask: int) -> Path:
    """Clone what is committed, as someone with another umask would, at another time."""
    subprocess.run(("git", "clone", "--quiet", str(ROOT), str(clone)), check=True, umask=umask)
    for path in (clone / "README.md", clone / "deploy" / "cli.py"):
        os.utime(path, (umask * 1e6, umask * 1e6))
    return clone


def built(clone: Path, umask: int) -> dict[str, bytes]:
    """Build what is released in a clone."""
    cloned(clone, umask)
    subprocess.run((sys.executable, "-m", "deploy.pack", "dist"), cwd=clone, check=True, umask=umask)
    return {path.name: path.read_bytes() for path in (clone / "dist").iterdir()}


@pytest.mark.slow
def test_two_checkouts_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = built(tmp_path / "one", 0o022), built(tmp_path / "elsewhere" / "other", 0o077)
    assert sorted(name.rpartition(".")[2] for name in one) == ["gz", "whl"]
    assert {name: hash(content) for name, content in one.items()} == {
        name: hash(content) for name, content in other.items()
    }
    (wheel,) = (content for name, content in one.items() if name.endswith(".whl"))
    names = zipfile.ZipFile(io.BytesIO(wheel)).namelist()
    assert {"shared/lua/write.lua", "gateway/web/client.js", "deploy/cli.py"} <= {*names}


def docker(*words: str) -> str:
    return subprocess.run(("docker", *words), check=True, capture_output=True, text=True).stdout.strip()


def layers(clone: Path) -> list[str]:
    """Build the image of a clone, with nothing kept from earlier builds; return the hashes of its layers."""
    image = docker("build", "--no-cache", "--quiet", "--file", f"{clone}/deploy/Dockerfile", str(clone))
    try:
        settings = json.loads(docker("image", "inspect", image))[0]
        return [*settings["RootFS"]["Layers"]]
    finally:
        docker("image", "rm", "--force", image)


@pytest.mark.skipif(os.environ.get("TEST_CONTAINERS") != "1", reason="a part of make test-containers")
@pytest.mark.timeout(900)
def test_the_image_of_two_checkouts_has_the_same_layers(tmp_path: Path) -> None:
    one = layers(cloned(tmp_path / "one", 0o022))
    assert one == layers(cloned(tmp_path / "other", 0o077))
    assert len(one) > 2, "the base's and ours"


def test_an_archive_tells_nothing_of_who_made_it() -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, mode in (("b", 0o600), ("a", 0o700)):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime, member.uname = 1, mode, 123456, "ada"
            tar.addfile(member, io.BytesIO(name.encode()))
    clean = normalised(archive.getvalue(), 1_000_000)
    assert clean == normalised(clean, 1_000_000)
    with tarfile.open(fileobj=io.BytesIO(clean)) as tar:
        found = [(m.name, m.mode, m.mtime, m.uname, m.uid) for m in tar.getmembers()]
        assert found == [("a", 0o755, 1_000_000, "", 0), ("b", 0o644, 1_000_000, "", 0)]
        assert [tar.extractfile(name).read() for name in "ab"] == [b"a", b"b"]  # type: ignore[union-attr]
