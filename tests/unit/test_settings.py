"""Settings from the environment: typed, bounded, every fault reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from shared.settings import SettingsError, describe, load


class Example(Struct, frozen=True):
    url: Annotated[str, Meta(min_length=1, description="where it is")]
    port: Annotated[int, Meta(ge=1, le=65535)] = 80
    games: tuple[str, ...] = ()
    strict: bool = False


def faults(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(Example, environ)
    return caught.value.faults


def test_what_is_not_set_has_its_default() -> None:
    assert load(Example, {"URL": "x"}) == Example("x", 80, (), False)


def test_values_take_their_types() -> None:
    environ = {"URL": "x", "PORT": "8080", "STRICT": "true", "HOME": "ignored"}
    assert load(Example, environ) == Example("x", 8080, (), True)


@pytest.mark.parametrize(
    ("raw", "value"),
    [("demo", ("demo",)), ("demo, chess", ("demo", "chess")), ("", ()), ("a,,b,", ("a", "b"))],
)
def test_a_list_is_separated_by_commas(raw: str, value: tuple[str, ...]) -> None:
    assert load(Example, {"URL": "x", "GAMES": raw}).games == value


def test_all_faults_are_reported_together() -> None:
    missing, port, strict = faults(PORT="70000", STRICT="maybe")
    assert missing == "URL is required: where it is"
    assert port.startswith("PORT: ")
    assert strict.startswith("STRICT: ")


@pytest.mark.parametrize("port", ["", "eighty", "0", "65536", "80.5"])
def test_a_value_outside_its_bounds_is_a_fault(port: str) -> None:
    assert len(faults(URL="x", PORT=port)) == 1


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://\n")
    assert load(Example, {"URL_FILE": str(secret)}).url == "postgresql://"


def test_the_variable_goes_before_the_file(tmp_path: Path) -> None:
    assert load(Example, {"URL": "x", "URL_FILE": str(tmp_path / "missing")}).url == "x"


def test_a_missing_file_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (fault,) = faults(URL_FILE=str(tmp_path / "missing"))
    assert "missing" in fault


def test_the_message_lists_every_fault() -> None:
    assert str(SettingsError(["A: x", "B: y"])) == "wrong settings:\n  A: x\n  B: y"


@pytest.mark.parametrize(
    ("hint", "reason"),
    [(Annotated[str, Meta(description="why")], "why"), (Annotated[str, Meta(min_length=1)], ""), (int, "")],
)
def test_the_reason_of_a_setting_is_in_its_type(hint: object, reason: str) -> None:
    assert describe(hint) == reason
