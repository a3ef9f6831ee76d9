"""A scheduled leaderboard through the whole stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx


async def test_a_scheduled_leaderboard_ranks_the_season_that_is_on(api: httpx.AsyncClient) -> None:
    game = f"/v1/games/seasons-{uuid4().hex[:8]}"
    board = f"{game}/leaderboards/monthly"
    await api.put(game, json={})
    wrong = await api.put(board, json={"schedule": "monthly", "timezone": "Europe/Lundon"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "timezone")
    made = await api.put(board, json={"schedule": "0 0 1 * *", "timezone": "Europe/London"})
    assert (made.status_code, made.json()["schedule"]) == (201, "0 0 1 * *")
    for played_at, counts in ((datetime.now(UTC), True), (datetime.now(UTC) - timedelta(days=40), False)):
        body = {"played_at": played_at.isoformat(), "results": [{"user_id": "ada", "score": 5}]}
        answer = (await api.post(f"{game}/sessions", json=body)).json()
        (change,) = [each for each in answer["results"][0]["entries"] if each["leaderboard"] == "monthly"]
        closed = {"leaderboard": "monthly", "season": None, "reason": "season_closed"}
        assert (change["season"] is not None) if counts else (change == closed)
    page = (await api.get(f"{board}/top")).json()
    assert [(entry["user_id"], entry["score"]) for entry in page["entries"]] == [("ada", 5)]
    assert page["season"]["starts_at"] == page["season"]["id"] < page["season"]["ends_at"]
    listed = (await api.get(f"{board}/seasons")).json()["seasons"]
    assert listed == [{**page["season"], "total": 1, "digest": None}]
    assert (await api.get(f"{board}/top?season={page['season']['id']}")).json()["total"] == 1
    assert (await api.get(f"{board}/top?season=previous")).json()["code"] == "season_not_found"
