"""The database of a local stack: made, migrated, with a login for each service."""

from __future__ import annotations

import psycopg
from psycopg import sql

DATABASE = "leaderboard"

LOGINS = {"score_service": "leaderboard_score", "rank_service": "leaderboard_rank"}
"""The user each service logs in as, and the role of the schema it is a member of."""


def prepare(admin_url: str, database_url: str, passwords: dict[str, str]) -> None:
    """Make the database if it is not there, bring it to the newest schema, set the logins' passwords."""
    from score_service.migrations import migrate

    with psycopg.connect(admin_url, autocommit=True) as admin:
        known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if known is None:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        migrate(database_url)
    let_in(database_url, {user: passwords[user] for user in LOGINS})


def let_in(database_url: str, passwords: dict[str, str]) -> None:
    """Make the logins of services and set their passwords; the role of a service must be there.

    Raises:
        ValueError: there is no such service.
    """
    if unknown := sorted(passwords.keys() - LOGINS.keys()):
        raise ValueError(f"no service logs in as {unknown[0]}: there are {', '.join(LOGINS)}")
    with psycopg.connect(database_url, autocommit=True) as admin:
        for user, password in passwords.items():
            _login(admin, user, LOGINS[user], password)


def _login(admin: psycopg.Connection, user: str, role: str, password: str) -> None:
    name = sql.Identifier(user)
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {}").format(name))
    admin.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
    admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), name))
