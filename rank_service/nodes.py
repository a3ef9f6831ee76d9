"""The nodes of a cluster, asked by themselves: each has its own round trips, so none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rank_service.index import Lookups
from rank_service.questions import Around, Asked, Found, Names, Page, Places, Seen, Stood
from shared.cluster import Address, Cluster
from shared.errors import StoreUnavailable
from shared.index import Miss, RankingIndex
from shared.profiles import Kept, version_key
from shared.ranking import Ranking
from shared.wire import Command, key_of


class Nodes:
    """Asks each question of the node that has the ranking, and for profiles the one that has these.

    Args:
        cluster: knows which node that is.
        index: a way to all of them.
        queue: questions that may wait for one node; past it `overloaded`.
    """

    def __init__(self, cluster: Cluster, index: RankingIndex, *, queue: int) -> None:
        self._cluster = cluster
        self._index = index
        self._queue = queue
        self._nodes: dict[Address, Lookups] = {}

    async def ask(self, question: Asked) -> Found | Miss:
        """Ask one question; without profiles where the node that has them cannot be asked."""
        if isinstance(question, Names):
            return await (await self._node(version_key(question.game_id))).ask(question)
        node = await self._node(question.ranking.keys[0])
        if not isinstance(question, Places | Page | Around):
            return await node.ask(question)
        users = question.user_ids if isinstance(question, Places) else ()
        answer, kept = await asyncio.gather(node.ask(question), self._kept(Names(question.game_id, users)))
        if isinstance(answer, Stood):
            return answer._replace(profiles=kept)
        return answer._replace(profile_version=kept.version) if isinstance(answer, Seen) else answer

    @property
    def used(self) -> Sequence[Ranking]:
        """Rankings asked for lately, of all nodes."""
        return list(dict.fromkeys(ranking for node in self._nodes.values() for ranking in node.used))

    def send_along(self, command: Command) -> None:
        """Send a command with the next round trip to its node; its reply is not looked at."""
        owner = self._cluster.known_owner(key_of(command))
        if owner in self._nodes:
            self._nodes[owner].send_along(command)

    async def close(self) -> None:
        """Wait for the round trips under way."""
        for node in self._nodes.values():
            await node.close()

    async def _node(self, key: str) -> Lookups:
        address = await self._cluster.owner(key)
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Lookups(self._index, queue=self._queue, named=False)
        return node

    async def _kept(self, names: Names) -> Kept:
        try:
            kept = await self.ask(names)
        except StoreUnavailable:
            return Kept(None, [None] * len(names.user_ids))
        assert isinstance(kept, Kept), "names are never a miss"
        return kept
