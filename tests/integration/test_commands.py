"""The commands that call the API, and the client they are made of, on a running stack."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest
from click.testing import Result

from deploy.api import Away, Leaderboard, Refused
from deploy.embedded import free_ports
from tests.doors import Service
from tests.integration.conftest import Run
from tests.stack import Stack


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


def test_what_was_watched_ends_with_its_line(run: Run, game: str) -> None:
    run("submit", game, "ada=1")
    output = run("watch", game, "--events", "1").output
    assert "ada" in output
    assert output.endswith("┘\n")


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


async def test_the_client_reads_lines_also_of_a_short_answer_that_came_whole() -> None:
    body = b'{"user_id":"ada"}\n{"user_id":"bob"}\n'

    async def answer_whole(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    with Service() as service:
        service.answer = answer_whole
        async with Leaderboard(service.url) as client:
            found = [entry["user_id"] async for entry in client.standings("demo", "global")]
    assert found == ["ada", "bob"]


async def test_a_call_that_may_be_lost_is_made_again_with_the_same_session_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deploy.api.FIRST_WAIT", 0.0)
    lost = [b"", b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"]

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(lost.pop(0) if lost else b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
        if len(lost) == 1:
            writer.close()

    with Service() as service:
        service.answer = answer
        async with Leaderboard(service.url) as client:
            await client.submit("demo", {"ada": 5})
    ids = [json.loads(request.partition(b"\r\n\r\n")[2])["session_id"] for request in service.seen]
    assert (len(ids), len(set(ids))) == (3, 1)


async def test_a_stream_that_breaks_off_is_taken_up_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.api.FIRST_WAIT", 0.0)
    event = b"id: %d\nevent: top\ndata: {}\n\n"

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        told = event % (8 if b"last-event-id: 7" in request else 7)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(told), told))
        writer.close()

    with Service() as service:
        service.answer = answer
        async with Leaderboard(service.url) as client:
            events = client.events("demo", "global")
            assert [(await anext(events)).id, (await anext(events)).id] == ["7", "8"]


async def test_a_stream_that_is_refused_is_not_asked_for_again(client: Leaderboard, game: str) -> None:
    async with client:
        with pytest.raises(Refused, match="leaderboard_not_found"):
            await anext(client.events(game, "nothing"))
        with pytest.raises(Refused, match="leaderboard_not_found"):
            await anext(client.standings(game, "nothing"))


def test_a_board_is_rebuilt_from_its_history(run: Run, game: str) -> None:
    run("submit", game, "ada=120", "bob=80")
    rebuilt = answer(run("rebuild", game, "global", "--json"))
    assert (rebuilt["status"], rebuilt["total"]) == ("ready", 2)
    assert "what its history says: 2 entries" in run("rebuild", game, "global").output
    assert run("rebuild", game, "nothing").exit_code == 1
