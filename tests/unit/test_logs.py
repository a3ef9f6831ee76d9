"""Logs are lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from shared.logs import JsonFormatter, configure


def formatted(message: str, *args: object, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("room").makeRecord(
        "room", logging.INFO, "f", 1, message, args, None, extra=extra
    )
    line = JsonFormatter("rank_service").format(record)
    assert "\n" not in line
    decoded: dict[str, Any] = json.loads(line)
    return decoded


def test_a_line_says_when_who_and_what() -> None:
    line = formatted("loaded %d entries", 5)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "service": "rank_service",
        "logger": "room",
        "message": "loaded 5 entries",
    }


def test_extras_become_fields_whatever_they_are() -> None:
    line = formatted("done\nindeed", ranking="1.1.0", odd={1, 2}, other=object)
    assert line["ranking"] == "1.1.0"
    assert "object" in line["other"]


def test_an_exception_is_part_of_its_line() -> None:
    try:
        int("broken")
    except ValueError:
        record = logging.LogRecord("room", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    assert "ValueError: invalid literal" in json.loads(JsonFormatter("x").format(record))["exception"]


def test_every_logger_of_the_process_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure("gateway", "WARNING")
        logging.getLogger("anything").warning("careful")
        logging.getLogger("anything").info("not this")
    finally:
        root.handlers[:], root.level = before
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["service"] == "gateway"
