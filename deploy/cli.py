"""The `leaderboard` command: what an operator runs by hand. Its commands are in `deploy/commands`."""

from __future__ import annotations

import click

from deploy.commands.backup import backup, restore
from deploy.commands.doctor import doctor
from deploy.commands.keys import keys
from deploy.commands.local import demo, example, up
from deploy.commands.manage import ban, boards, games, seasons, unban, void
from deploy.commands.migrate import migrate
from deploy.commands.play import rank, submit, top, watch
from deploy.commands.rebuild import rebuild
from deploy.commands.secrets import secrets
from deploy.commands.serve import gateway, rank_service, score_service
from deploy.commands.transfer import bring_in, export
from deploy.commands.verify import verify


@click.group()
@click.version_option(package_name="gaming-leaderboard")
def main() -> None:
    """Durable scores, exact tie-aware ranks, fast while millions play."""


HERE = (up, example, demo)
DEPLOYED = (secrets, migrate, keys, backup, restore, doctor, verify, score_service, rank_service, gateway)
CALLING = (games, boards, seasons, submit, top, rank, watch, ban, unban, void, rebuild, bring_in, export)

for command in (*HERE, *DEPLOYED, *CALLING):
    main.add_command(command)


if __name__ == "__main__":
    main()
