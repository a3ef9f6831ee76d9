"""Named SQL from `.sql` files: a name, one sentence on what it is for, the statement.

-- name: rank_of
-- The exact rank of one user, counted over the rank index.
SELECT ...;
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_HEADER = re.compile(r"^-- name: ([a-z_]+)\n((?:-- [^\n]*\n)+)", re.MULTILINE)


class Query(NamedTuple):
    """A statement and the sentence that says what it is for."""

    sql: str
    purpose: str


def load(folder: Path) -> dict[str, Query]:
    """Read every query of every `.sql` file in `folder`.

    Raises:
        ValueError: a file holds text outside a named query, or a name twice.
    """
    queries: dict[str, Query] = {}
    for path in sorted(folder.glob("*.sql")):
        text = path.read_text()
        headers = list(_HEADER.finditer(text))
        if not headers or text[: headers[0].start()].strip():
            raise ValueError(f"{path.name}: every statement needs '-- name:' and a sentence")
        ends = [header.start() for header in headers[1:]] + [len(text)]
        for header, end in zip(headers, ends, strict=True):
            if header[1] in queries:
                raise ValueError(f"{path.name}: {header[1]} is defined twice")
            purpose = " ".join(line[3:] for line in header[2].splitlines())
            queries[header[1]] = Query(text[header.end() : end].strip().rstrip(";"), purpose)
    return queries
