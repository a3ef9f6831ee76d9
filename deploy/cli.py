"""The `leaderboard` command: what an operator runs by hand. Its commands are in `deploy/commands`."""

from __future__ import annotations

import click

from deploy.commands.keys import keys
from deploy.commands.local import demo, example, up
from deploy.commands.migrate import migrate
from deploy.commands.secrets import secrets
from deploy.commands.serve import gateway, rank_service, score_service


@click.group()
@click.version_option(package_name="gaming-leaderboard")
def main() -> None:
    """Durable scores, exact tie-aware ranks, fast while millions play."""


for command in (up, example, demo, migrate, keys, secrets, score_service, rank_service, gateway):
    main.add_command(command)


if __name__ == "__main__":
    main()
