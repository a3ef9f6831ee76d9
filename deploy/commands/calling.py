"""What commands that call the API share: where it is, which key, and how answers are shown."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

if TYPE_CHECKING:
    from deploy.api import Leaderboard

P = ParamSpec("P")


class Output:
    """Shows an answer: as JSON where that was asked for, as a table for people otherwise."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(
        self, answer: Any, columns: Iterable[str], rows: Iterable[Iterable[Any]], title: str = ""
    ) -> None:
        """Print an answer, or the table of it."""
        if self.as_json:
            click.echo(json.dumps(answer, ensure_ascii=False))
            return
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*columns, title=title or None)
        for row in rows:
            table.add_row(*("" if value is None else escape(str(value)) for value in row))
        Console().print(table)

    def say(self, answer: Any, sentence: str) -> None:
        """Print an answer, or a sentence about it."""
        click.echo(json.dumps(answer, ensure_ascii=False) if self.as_json else sentence)


def first(error: BaseException) -> BaseException:
    """Return the first of the errors in a group."""
    return first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def given(url: str | None, key: str | None) -> tuple[str, str]:
    """Return the URL and key to use: those given, or those of the stack that runs on this machine."""
    from deploy.commands.options import local
    from deploy.files import read_env

    here = read_env(local("local.env"))
    url = url or here.get("GATEWAY_URL")
    if not url:
        raise click.UsageError("say where the gateway is: --url or GATEWAY_URL (no stack runs here)")
    return url, key if key is not None else here.get("ADMIN_KEY", "")


def calls(work: Callable[Concatenate[Leaderboard, Output, P], Awaitable[None]]) -> Callable[..., None]:
    """Make a command of a coroutine that calls the API; what goes wrong is answered with a sentence."""

    @wraps(work)
    def command(url: str | None, key: str | None, as_json: bool, *args: P.args, **kwargs: P.kwargs) -> None:
        import asyncio

        from deploy.api import Away, Leaderboard, Refused

        async def run() -> None:
            async with Leaderboard(*given(url, key), connections=16) as leaderboard:
                await work(leaderboard, Output(as_json=as_json), *args, **kwargs)

        try:
            asyncio.run(run())
        except* (Refused, Away, OSError, ValueError) as errors:
            # Of calls made side by side, the first that failed stopped the others.
            raise click.ClickException(str(first(errors))) from errors

    decorated: Callable[..., None] = command
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs."),
        click.option(
            "--key", envvar="LEADERBOARD_KEY", help="An API key. Default: the local stack's admin key."
        ),
        click.option("--url", envvar="GATEWAY_URL", help="The gateway. Default: the local stack's."),
    ):
        decorated = option(decorated)
    return decorated
