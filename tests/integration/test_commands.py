"""The commands that call the API, and the client they are made of, on a running stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from redis import Redis

from deploy.api import Away, Leaderboard, Refused
from deploy.cli import main
from deploy.embedded import free_ports
from deploy.sources import Unusable, read
from deploy.transfer import ranked
from tests.stack import Stack

Run = Callable[..., Result]


@pytest.fixture
def run(stack: Stack) -> Run:
    """Runs a command against the stack."""
    environ = {"LOCAL_DATA_DIR": str(stack.folder), "COLUMNS": "120"}
    return lambda *words: CliRunner(env=environ).invoke(main, [str(word) for word in words])


@pytest.fixture
def game(run: Run) -> str:
    """A game of this test's own."""
    name = f"g{token_hex(6)}"
    assert run("games", "make", name).exit_code == 0
    return name


@pytest.fixture
def client(stack: Stack) -> Leaderboard:
    return Leaderboard(stack.url, stack.values["ADMIN_KEY"])


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_score_submitted_is_at_the_top(run: Run, game: str) -> None:
    submitted = answer(run("submit", game, "ada=120", "bob=80", "--json"))
    assert [r["entries"][0]["rank"] for r in submitted["results"]] == [1, 2]
    assert [e["user_id"] for e in answer(run("top", game, "--json"))["entries"]] == ["ada", "bob"]
    assert "ada" in run("top", game).output


def test_a_rank_is_shown_with_its_neighbours(run: Run, game: str) -> None:
    run("submit", game, "ada=3", "bob=2", "cyd=1")
    assert answer(run("rank", game, "global", "bob", "--json"))["entry"]["rank"] == 2
    assert len(answer(run("rank", game, "global", "bob", "--around", "1", "--json"))["entries"]) == 3


def test_boards_are_defined_listed_and_dropped(run: Run, game: str) -> None:
    assert run("boards", "define", game, "laps", "--operator", "best", "--order", "asc").exit_code == 0
    listed = answer(run("boards", "list", game, "--json"))["leaderboards"]
    assert {board["leaderboard"]: board["order"] for board in listed} == {"global": "desc", "laps": "asc"}
    assert answer(run("seasons", game, "laps", "--json"))["seasons"]
    assert run("boards", "drop", game, "laps").exit_code == 0


def test_a_ban_and_a_void_change_the_board(run: Run, game: str) -> None:
    session = answer(run("submit", game, "ada=5", "--json"))["session_id"]
    run("submit", game, "bob=3")
    run("ban", game, "ada")
    assert [e["user_id"] for e in answer(run("top", game, "--json"))["entries"]] == ["bob"]
    run("unban", game, "ada")
    assert run("void", game, session, "--reason", "a test").exit_code == 0
    assert [e["user_id"] for e in answer(run("top", game, "--json"))["entries"]] == ["bob"]


def test_games_are_listed_and_archived(run: Run, game: str) -> None:
    assert run("games", "archive", game).exit_code == 0
    listed = {each["game"]: each for each in answer(run("games", "list", "--json"))["games"]}
    assert game not in listed or listed[game]["archived_at"]


def test_watching_shows_the_top(run: Run, game: str) -> None:
    run("submit", game, "ada=1")
    event = answer(run("watch", game, "--events", "1", "--json"))
    assert (event["event"], event["data"]["total"]) == ("top", 1)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("top", "no-such-game"), "game_not_found"),
        (("submit", "demo", "ada"), "USER=SCORE"),
        (("submit", "demo", "ada=1.5"), "USER=SCORE"),
        (("import", "csv", "/none.csv", "demo", "global"), "No such file"),
        (("top", "demo", "--url", "http://127.0.0.1:1", "--key", "x"), "no answer"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    run: Run, words: tuple[str, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.api.FIRST_WAIT", 0.0)
    result = run(*words)
    assert result.exit_code != 0
    assert advice in result.output
    assert "Traceback" not in result.output


def test_a_file_moves_in_once_and_is_proved(run: Run, game: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("user_id,score\n" + "".join(f"u{n},{n // 2}\n" for n in range(2500)))
    for _ in range(2):
        proof = answer(run("import", "csv", tmp_path / "old.csv", game, "global", "--json"))
        assert (proof["users"], proof["holds"], proof["tied"]) == (2500, True, 2500)
    exported = run("export", game, "global").output.splitlines()
    assert exported[:2] == ["rank,user_id,score,ties", "1,u2498,1249,2"]
    assert len(exported) == 2501


def test_a_source_that_changed_is_not_counted_twice(run: Run, game: str, tmp_path: Path) -> None:
    for score, code in (("1", 0), ("2", 1)):
        (tmp_path / "old.csv").write_text(f"user_id,score\nada,{score}\n")
        result = run("import", "csv", tmp_path / "old.csv", game, "global")
        assert result.exit_code == code
    assert "session_conflict" in result.output


def test_differences_are_named(run: Run, game: str, tmp_path: Path) -> None:
    run("submit", game, "ada=5", "eve=9")
    (tmp_path / "old.csv").write_text("user_id,score\nada,4\nbob,1\n")
    result = run("import", "csv", tmp_path / "old.csv", game, "global", "--verify")
    assert result.exit_code == 1
    for words in ("missing here: 1", "ada: 4 there, 5 here", "1 users here are not in the source"):
        assert words in result.output


def test_a_webhook_needs_a_secret_and_is_shown_to_admins(run: Run, game: str) -> None:
    refused = run(
        "boards", "define", game, "hours", "--schedule", "hourly", "--webhook", "https://example.com/"
    )
    assert (refused.exit_code, "WEBHOOK_SECRET" in refused.output) == (1, True)
    assert run("boards", "define", game, "hours", "--schedule", "hourly", "--webhook", "").exit_code == 0
    assert answer(run("boards", "webhook", game, "hours", "--json")) == {"webhook": None, "announcements": []}


def test_a_board_is_proved_and_damage_is_told(run: Run, stack: Stack, game: str) -> None:
    run("submit", game, "ada=5", "eve=9")
    assert "equal: 2 entries, 1 seasons" in run("verify", game, "global").output
    with psycopg.connect(stack.values["DATABASE_URL"]) as db:
        db.execute(
            "UPDATE entries SET score = 6 FROM leaderboards AS l JOIN games AS g USING (game_id)"
            " WHERE entries.leaderboard_id = l.leaderboard_id AND g.game = %s AND user_id = 'ada'",
            (game,),
        )
    result = run("verify", game, "global")
    assert result.exit_code == 1
    assert "wrong entry, season all, ada: score 6; should be score 5" in result.output
    told = json.loads(run("verify", game, "global", "--json").output)
    assert (told["equal"], told["differences"]) == (False, {"total": 1, "wrong entry": 1})
    assert run("verify", game, "nothing").exit_code == 2


@pytest.mark.parametrize("kind", ["redis", "podium"])
def test_a_sorted_set_moves_in(run: Run, game: str, redis_url: str, kind: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.zadd("weekly", {"ada": 3, "bob": 3, "cyd": 1})
    proof = answer(run("import", kind, redis_url, game, "global", "--board", "weekly", "--json"))
    assert (proof["holds"], proof["tied"]) == (True, 2)


def test_a_nakama_table_moves_in(run: Run, game: str, tmp_path: Path) -> None:
    table = "leaderboard_id,owner_id,username,score,subscore\nlaps,ada,A,7,0\nother,bob,B,9,0\n"
    (tmp_path / "records.csv").write_text(table)
    words = ("import", "nakama", tmp_path / "records.csv", game, "global", "--board", "laps", "--json")
    assert answer(run(*words))["users"] == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("user,score\nada,1\n", "no column user_id"),
        ("user_id,score\nada,1.5\n", "not a whole number"),
        ("user_id,score\nada,1\nada,2\n", "there twice"),
        ("user_id,score\nan ape,1\n", "no user id here"),
        ("user_id,score\nada,9007199254740993\n", "no longer exact"),
    ],
)
def test_what_cannot_be_held_is_refused_whole(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(Unusable, match=fault):
        read("csv", str(tmp_path / "x.csv"), None)


@pytest.mark.parametrize(
    ("ties", "ranks"),
    [("competition", [1, 1, 3]), ("dense", [1, 1, 2]), ("first", [None, None, 3])],
)
def test_expected_ranks_follow_the_tie_rule(ties: str, ranks: list[int | None]) -> None:
    found = ranked([("a", 5), ("b", 5), ("c", 1)], {"order": "desc", "ties": ties})
    assert [rank for _, rank in found.values()] == ranks


async def test_the_client_sends_a_session_once(client: Leaderboard, game: str) -> None:
    async with client:
        first = await client.submit(game, {"ada": 5})
        await client.submit(game, {"ada": 5}, session_id=first["session_id"])
        assert (await client.entry(game, "global", "ada"))["entry"]["score"] == 5
        assert (await client.lookup(game, "global", ["ada", "bob"]))["missing"] == ["bob"]


async def test_the_client_tells_what_was_wrong(client: Leaderboard, game: str) -> None:
    async with client:
        with pytest.raises(Refused, match="score") as caught:
            await client.submit(game, {"ada": 2**60})
    assert caught.value.code == "invalid_request"


async def test_the_client_gives_up_in_time() -> None:
    (port,) = free_ports(1)
    async with Leaderboard(f"http://127.0.0.1:{port}", attempts=2) as client:
        with pytest.raises(Away, match="2 tries"):
            await client.call("GET", "/v1/games")


async def test_the_client_hears_of_changes(client: Leaderboard, game: str) -> None:
    async with client, asyncio.timeout(20):
        await client.submit(game, {"ada": 5})
        events = client.events(game, "global")
        assert (await anext(events)).data["entries"][0]["score"] == 5
        await client.submit(game, {"ada": 2})
        async for event in events:
            if event.name == "top" and event.data["entries"][0]["score"] == 7:
                break
