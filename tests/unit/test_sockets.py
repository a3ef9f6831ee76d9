"""The file of a Unix socket: a dead one is replaced, whatever else is there is left alone."""

from __future__ import annotations

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.settings import Settings as GatewaySettings
from score_service.settings import Settings as ScoreSettings
from shared.settings import SettingsError, load
from shared.sockets import MAX_BYTES, Listener, fits


@pytest.fixture
def path() -> Iterator[str]:
    """A path short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "s")


def listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def test_only_user_and_group_may_connect(path: str) -> None:
    with Listener(path, 1).socket:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660
        assert listens(path)


def test_the_file_of_a_killed_process_is_replaced(path: str) -> None:
    Listener(path, 1).socket.close()
    assert not listens(path)
    with Listener(path, 1).socket:
        assert listens(path)


def test_a_socket_in_use_is_left_alone_even_when_its_server_is_behind(path: str) -> None:
    with Listener(path, 0).socket, socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(path)  # the backlog is full now
        with pytest.raises(OSError, match=f"another process listens here: '{path}'"):
            Listener(path, 1)


def test_any_other_file_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        Listener(path, 1)
    assert Path(path).read_text() == "precious"


def test_nobody_removes_the_socket_of_another(path: str) -> None:
    first = Listener(path, 1)
    Path(path).unlink()
    with first.socket, Listener(path, 1).socket:
        first.remove()
        assert listens(path)


def test_what_is_removed_is_gone(path: str) -> None:
    listener = Listener(path, 1)
    listener.remove()
    listener.remove()
    listener.socket.close()
    assert not Path(path).exists()


def test_a_path_that_fits_can_be_bound(path: str) -> None:
    longest = path + "é" * ((MAX_BYTES - len(path)) // 2)
    assert fits(longest)
    Listener(longest, 1).socket.close()
    assert not fits(longest + "éé")
    assert not fits("/a,b")


@pytest.mark.parametrize("value", ["rank.sock", "/" + "x" * 100, "/a,/b", "unix:/a"])
def test_a_wrong_path_is_told(value: str) -> None:
    with pytest.raises(SettingsError, match=r"SCORE_SOCKET: .*an absolute path"):
        load(ScoreSettings, {"DATABASE_URL": "x", "REDIS_URL": "x", "SCORE_SOCKET": value})


@pytest.mark.parametrize(
    "value", ["unix:", "unix:rank.sock", "unix:/" + "x" * 100, "http://a,unix:", "/a", ""]
)
def test_a_wrong_address_of_a_service_is_told(value: str) -> None:
    with pytest.raises(SettingsError, match=r"RANK_URL: .*http://host:port, or unix:/path"):
        load(GatewaySettings, {"JWKS_FILE": "x", "RANK_URL": value})


@pytest.mark.parametrize("value", ["unix:/a", "unix:/a,unix:/b", "http://a:1,unix:/b"])
def test_services_may_be_at_sockets(value: str) -> None:
    assert load(GatewaySettings, {"JWKS_FILE": "x", "RANK_URL": value}).rank_url == value
