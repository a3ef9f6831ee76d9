"""Every setting is documented, with its reason, as it is in the code."""

from __future__ import annotations

from typing import get_type_hints

import msgspec
import pytest

from deploy.reference import PROCESSES, SETTINGS, render
from shared.settings import describe


def test_the_settings_on_record_are_those_of_the_code() -> None:
    assert SETTINGS.read_text() == render(), "run `make schema` and look at the difference"


@pytest.mark.parametrize("process", PROCESSES)
def test_every_setting_says_what_it_is_for(process: str) -> None:
    cls = PROCESSES[process]
    hints = get_type_hints(cls, include_extras=True)
    assert {field.name for field in msgspec.structs.fields(cls) if not describe(hints[field.name])} == set()


def test_bounds_patterns_and_defaults_are_shown() -> None:
    text = render()
    assert "| `GATEWAY_PORT` | `8080` |" in text
    assert "| `DATABASE_URL` | required |" in text
    assert r"`(DEBUG\|INFO\|WARNING\|ERROR)`" in text
