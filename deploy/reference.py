"""`deploy/SETTINGS.md`: every setting of every process, written by `make schema` from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from deploy.settings import LocalSettings
from gateway.settings import Settings as GatewaySettings
from rank_service.settings import Settings as RankSettings
from score_service.settings import Settings as ScoreSettings
from shared.settings import describe

SETTINGS = Path(__file__).parent / "SETTINGS.md"

PROCESSES: dict[str, type[msgspec.Struct]] = {
    "gateway": GatewaySettings,
    "score_service": ScoreSettings,
    "rank_service": RankSettings,
    "leaderboard up": LocalSettings,
}

HEADER = """# Settings

Environment variables, read once at the start; every fault is reported, not only the first. A secret may
come from a file: `NAME_FILE` names it. Lists are separated by commas. Written by `make schema` from the
code; do not edit.
"""


def render() -> str:
    """Return the whole file."""
    return "\n".join([HEADER, *(_section(name, cls) for name, cls in PROCESSES.items())])


def _section(process: str, cls: type[msgspec.Struct]) -> str:
    hints = get_type_hints(cls, include_extras=True)
    lines = [f"## {process}", "", "| variable | default | allowed | what it is for |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        default = "required" if field.required else _plain(field.default)
        lines.append(f"| `{field.name.upper()}` | {default} | {_allowed(hint)} | {describe(hint)} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    """Return a default as one would write it into the environment."""
    if value is None:
        return ""
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`" if text else ""


def _allowed(hint: Any) -> str:
    """Return what a setting may be, in words."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is Literal:
        return ", ".join(f"`{option}`" for option in get_args(bare))
    if bare is bool or get_origin(bare) is tuple:
        return "`true`, `false`" if bare is bool else "a list"
    rule = msgspec.Meta()
    for meta in (part for part in get_args(hint)[1:] if isinstance(part, msgspec.Meta)):
        rule = meta if meta.pattern or meta.ge is not None else rule
    if rule.pattern:
        return "`" + rule.pattern.replace(r"\A", "").replace(r"\Z", "").replace("|", r"\|") + "`"
    if rule.ge is None:
        return ""
    return f"{rule.ge} or more" if rule.le is None else f"{rule.ge} to {rule.le}"


def main() -> None:
    """Write the file."""
    SETTINGS.write_text(render())
    print(f"wrote {SETTINGS}")


if __name__ == "__main__":
    main()
