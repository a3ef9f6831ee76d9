"""The hottest reads of the usual case, answered in steps instead of in a task (see shared.direct).

The usual case: the current season of a ranking in one piece, which the index can answer, and all else
known in process. In any other the steps end with None, and the handler answers from the start.
"""

from __future__ import annotations

from rank_service.answers import Answers
from rank_service.index import Lookups
from rank_service.names import Profiles
from rank_service.pages import Pages, page_reply
from rank_service.questions import Around, Names, Page, Places, Seen, Stood
from rank_service.rules import View
from rank_service.seasons import Seasons
from rank_service.service import around_of, entry_of
from rank_service.yesterday import Yesterday
from shared.asgi import Call, Reply, Steps
from shared.boards import Games
from shared.names import is_user_id
from shared.profiles import Kept


class ShortCuts:
    """Answers what can be answered by asking the index alone."""

    def __init__(
        self,
        games: Games,
        seasons: Seasons,
        lookups: Lookups,
        answers: Answers,
        profiles: Profiles,
        yesterday: Yesterday,
        pages: Pages,
    ) -> None:
        self._games = games
        self._seasons = seasons
        self._asker = lookups.coalescer
        self._answers = answers
        self._profiles = profiles
        self._yesterday = yesterday
        self._pages = pages

    def entry(self, call: Call) -> Steps:
        """Answer one user's entry."""
        asked, user_id = self._view(call), call.params["user_id"]
        if asked is None or not is_user_id(user_id):
            return None
        question = Places(asked.ranking, asked.board.game_id, (user_id,))
        stood = yield self._asker, question
        if not isinstance(stood, Stood) or stood.places[0] is None:
            return None
        named = self._profiles.known(asked.board.game_id, stood.profiles)
        before = self._yesterday.known(asked.ranking, user_id)
        if named is None or before is False:
            return None
        return Reply(200, entry_of(asked, "index", stood, user_id, named[0], before))

    def around(self, call: Call, radius: int) -> Steps:
        """Answer one user's entry and those around it."""
        asked, user_id = self._view(call), call.params["user_id"]
        if asked is None or not is_user_id(user_id):
            return None
        game_id = asked.board.game_id
        seen = yield self._asker, Around(asked.ranking, game_id, user_id, radius)
        before = self._yesterday.known(asked.ranking, user_id)
        if not isinstance(seen, Seen) or not seen.rows or before is False:
            return None
        kept = Kept(seen.profile_version, [None] * len(seen.rows))
        named = self._profiles.known(game_id, kept)
        if named is None:
            kept = yield self._asker, Names(game_id, tuple([row.user_id for row in seen.rows]))
            named = self._profiles.known(game_id, kept)
        if named is None:
            return None
        return Reply(200, around_of(asked, "index", seen, user_id, named, before))

    def top(self, call: Call, offset: int, limit: int) -> Steps:
        """Answer a page that has not changed since it was last encoded."""
        asked = self._view(call)
        if asked is None:
            return None
        seen = yield self._asker, Page(asked.ranking, asked.board.game_id, offset, limit)
        page = self._pages.held(asked, offset, limit, "index", seen) if isinstance(seen, Seen) else None
        return None if page is None else page_reply(page, call.header(b"if-none-match"))

    def _view(self, call: Call) -> View | None:
        """Return the current season of the leaderboard in the path, if it can be asked about."""
        game = self._games.known(call.params["game"])
        board = None if game is None else game.boards.get(call.params["leaderboard"])
        if board is None or board.index_shards != 1:
            return None
        asked = self._seasons.current(board)
        return None if asked.ranking.name in self._answers.behind else asked
