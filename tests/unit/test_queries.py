"""SQL files hold named statements, each with the sentence that says what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.queries import load


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)
    return folder


def test_a_statement_has_a_name_and_a_purpose(tmp_path: Path) -> None:
    queries = load(
        written(tmp_path, one="-- name: rank_of\n-- The rank\n-- of a user.\nSELECT 1\n  AS one;\n")
    )
    assert queries["rank_of"].sql == "SELECT 1\n  AS one"
    assert queries["rank_of"].purpose == "The rank of a user."


def test_a_file_may_hold_several_and_a_folder_several_files(tmp_path: Path) -> None:
    two = "-- name: a\n-- First.\nSELECT 1;\n\n-- name: b\n-- Second.\n-- noted\nSELECT 2;\n"
    queries = load(written(tmp_path, two=two, three="-- name: c\n-- Third.\nSELECT 3\n"))
    assert {name: query.sql for name, query in queries.items()} == {
        "a": "SELECT 1",
        "b": "SELECT 2",
        "c": "SELECT 3",
    }


def test_a_comment_inside_a_statement_stays(tmp_path: Path) -> None:
    queries = load(written(tmp_path, one="-- name: a\n-- First.\nSELECT 1 -- why\n-- also why\n"))
    assert queries["a"].sql == "SELECT 1 -- why\n-- also why"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("SELECT 1;", "every statement needs"),
        ("-- name: a\nSELECT 1;", "every statement needs"),
        ("SELECT 0;\n-- name: a\n-- First.\nSELECT 1;", "every statement needs"),
        ("-- name: a\n-- First.\nSELECT 1;\n-- name: a\n-- Again.\nSELECT 2;", "defined twice"),
    ],
)
def test_text_outside_a_named_statement_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        load(written(tmp_path, one=text))
