"""The house rules: the repository tests itself. Each rule is shown an example that breaks it."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.queries import load

ROOT = Path(__file__).parent.parent
SERVICES = ("gateway", "score_service", "rank_service")
PACKAGES = (*SERVICES, "shared", "deploy")

TOP_LEVEL = {
    *PACKAGES,
    "tests",
    ".ci",
    ".dockerignore",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "docker-compose.yml",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-local.txt",
}


def tracked() -> list[Path]:
    """Every file of the project that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]
SOURCE = [path for path in PYTHON if path.relative_to(ROOT).parts[0] in PACKAGES]
TESTS = [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "tests"]
TEXT = [path for path in FILES if path.suffix in {".py", ".sql", ".lua", ".md", ".toml", ".txt", ".yml", ""}]

Rule = Callable[[ast.Module, str], Iterator[str]]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


SQL = re.compile(
    r"\s*(SELECT\s|INSERT INTO\b|UPDATE\s+(?!\d)|DELETE FROM\b|(CREATE|ALTER|DROP|TRUNCATE)\s"
    r"|WITH\s+\w+\s+AS\b)"
)


def is_sql(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL.match(node.value))


def sql_put_together(tree: ast.Module, name: str) -> Iterator[str]:
    """SQL is never put together from strings; values are parameters, names go through psycopg.sql."""
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.expr)):
        joined = isinstance(node, ast.JoinedStr) and node.values and is_sql(node.values[0])
        added = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod) and is_sql(node.left)
        formatted = isinstance(node, ast.Attribute) and node.attr == "format" and is_sql(node.value)
        if joined or added or formatted:
            yield f"{name}:{node.lineno}: SQL put together from strings"


def broad_excepts(tree: ast.Module, name: str) -> Iterator[str]:
    """Whoever catches everything counts it in a metric, raises it again, or hands it to who asked."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = ast.unparse(node.type) if node.type else "BaseException"
        inside = [each for statement in node.body for each in ast.walk(statement)]
        counted = any(isinstance(each, ast.Attribute) and each.attr == "inc" for each in inside)
        raised = any(isinstance(each, ast.Raise) for each in inside)
        handed_on = any(isinstance(each, ast.Assign) and mentions(each.value, node.name) for each in inside)
        if re.search(r"\b(Base)?Exception\b", caught) and not (counted or raised or handed_on):
            yield f"{name}:{node.lineno}: catches everything, and neither counts, raises nor hands it on"


def mentions(node: ast.AST, name: str | None) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def long_functions(tree: ast.Module, name: str) -> Iterator[str]:
    """A function is at most 70 lines."""
    for node in functions(tree):
        if length(node) > 70:
            yield f"{name}:{node.lineno}: {node.name} has {length(node)} lines"


def globals_changed(tree: ast.Module, name: str) -> Iterator[str]:
    """No module changes its globals."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"{name}:{node.lineno}: changes the global {node.names[0]}"


def orphan_tasks(tree: ast.Module, name: str) -> Iterator[str]:
    """A task that nobody keeps may vanish, and its error with it."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
            continue
        called = ast.unparse(node.value.func)
        if called.endswith(("asyncio.create_task", "asyncio.ensure_future", "loop.create_task")):
            yield f"{name}:{node.lineno}: starts a task that nobody keeps"


FORBIDDEN_IN_ROOMS = {
    "rules.py": r"asyncio|asyncpg|redis|httpx|starlette|time|random|shared\.(postgres|wire|index|asgi)",
    "routes.py": r"asyncpg|psycopg|redis|shared\.(postgres|queries|wire)",
    "service.py": r"starlette|uvicorn|asyncpg|redis|shared\.asgi",
    "store.py": r"starlette|uvicorn|redis|shared\.(asgi|wire)",
    "index.py": r"starlette|uvicorn|asyncpg|shared\.asgi",
}


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def rooms(tree: ast.Module, name: str) -> Iterator[str]:
    """What a room of a service may not contain (the table in CONTRIBUTING.md)."""
    room = Path(name).name
    for line, module in imports(tree):
        # The gateway's business *is* HTTP.
        elsewhere = name.startswith("gateway/") and module == "shared.asgi"
        if (
            room in FORBIDDEN_IN_ROOMS
            and not elsewhere
            and re.match(rf"({FORBIDDEN_IN_ROOMS[room]})(\.|$)", module)
        ):
            yield f"{name}:{line}: {room} imports {module}"
    for node in ast.walk(tree):
        if room in {"routes.py", "service.py", "rules.py", "worker.py"} and is_sql(node):
            yield f"{name}:{getattr(node, 'lineno', 0)}: {room} holds SQL"
        if room == "rules.py" and isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{name}:{node.lineno}: rules wait for nothing"
        if room == "rules.py" and isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
            yield f"{name}:{node.lineno}: rules have no clock"


def sleeps_and_mocks(tree: ast.Module, name: str) -> Iterator[str]:
    """Tests wait for conditions (`wait_until`) and run against what is real."""
    for line, module in imports(tree):
        if module.startswith(("unittest.mock", "mock", "fakeredis")):
            yield f"{name}:{line}: imports {module}"
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
        seconds = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        # A moment for others to run, and a stand-in that never answers, are no guesses at a time.
        if ast.unparse(node.func) in {"time.sleep", "asyncio.sleep", "sleep"} and seconds not in (0, 3600):
            yield f"{name}:{node.lineno}: sleeps"


# Put together from halves, so that this file may name them.
WORDS = {
    "TO" + "DO": "finish it, or write down what is missing where readers look",
    "FIX" + "ME": "fix it",
    "/wo" + "rk/": "a path of one machine",
    "/ro" + "ot/": "a path of one machine",
    "pypi" + ".org/simple": "the lock files name no index",
    "--index" + "-url": "the lock files name no index",
    "--extra-index" + "-url": "the lock files name no index",
}


def words(text: str, name: str) -> Iterator[str]:
    """Words that have no place in the repository."""
    for number, line in enumerate(text.splitlines(), start=1):
        for word, advice in WORDS.items():
            if word in line:
                yield f"{name}:{number}: {word!r}: {advice}"


def checked(rule: Rule, paths: list[Path]) -> list[str]:
    """Apply a rule to files; return its complaints."""
    complaints: list[str] = []
    for path in paths:
        complaints += rule(ast.parse(path.read_text()), str(path.relative_to(ROOT)))
    return complaints


SLEEPERS = {"support.py", "proxy.py", "doors.py"}
"""They are what other tests wait and delay with."""

RULES: list[tuple[Rule, list[Path]]] = [
    (sql_put_together, SOURCE),
    (broad_excepts, SOURCE),
    (long_functions, PYTHON),
    (globals_changed, PYTHON),
    (orphan_tasks, PYTHON),
    (rooms, [path for path in SOURCE if path.relative_to(ROOT).parts[0] in SERVICES]),
    (sleeps_and_mocks, [path for path in TESTS if path.name not in SLEEPERS]),
]

BROKEN: list[tuple[Rule, str, str]] = [
    (sql_put_together, "store.py", 'query = f"SELECT * FROM {table}"'),
    (sql_put_together, "store.py", 'query = "SELECT * FROM " + table'),
    (sql_put_together, "store.py", 'query = "DELETE FROM %s" % table'),
    (sql_put_together, "store.py", 'query = "INSERT INTO {}".format(table)'),
    (broad_excepts, "worker.py", "try:\n    work()\nexcept Exception:\n    log.exception('failed')"),
    (broad_excepts, "worker.py", "try:\n    work()\nexcept:\n    pass"),
    (
        broad_excepts,
        "worker.py",
        "try:\n    work()\nexcept (OSError, BaseException) as error:\n    print(error)",
    ),
    (long_functions, "service.py", "def f():\n" + "    x = 1\n" * 70),
    (globals_changed, "app.py", "def f():\n    global pool\n    pool = 1"),
    (orphan_tasks, "worker.py", "async def f():\n    asyncio.create_task(g())"),
    (rooms, "score_service/rules.py", "import time"),
    (rooms, "score_service/rules.py", "async def f(): ..."),
    (rooms, "score_service/rules.py", "now = datetime.now(UTC)"),
    (rooms, "score_service/routes.py", "from shared.postgres import Pool"),
    (rooms, "score_service/routes.py", 'rows = call("SELECT 1 FROM games")'),
    (rooms, "rank_service/service.py", "from starlette.requests import Request"),
    (rooms, "rank_service/store.py", "import redis.asyncio"),
    (sleeps_and_mocks, "tests/unit/test_x.py", "from unittest.mock import patch"),
    (sleeps_and_mocks, "tests/unit/test_x.py", "async def f():\n    await asyncio.sleep(0.1)"),
]


@pytest.mark.parametrize(("rule", "paths"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_the_house_is_tidy(rule: Rule, paths: list[Path]) -> None:
    assert checked(rule, paths) == [], rule.__doc__


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN)
def test_a_broken_rule_is_seen(rule: Rule, name: str, source: str) -> None:
    assert list(rule(ast.parse(source), name))


@pytest.mark.parametrize(
    "source",
    [
        'query = "SELECT 1"',
        'text = f"SELECTED {n}"',
        'sql.SQL("DROP DATABASE {}").format(sql.Identifier(name))',
        "try:\n    work()\nexcept Exception:\n    FAILURES.inc()",
        "try:\n    work()\nexcept BaseException:\n    close()\n    raise",
        "try:\n    work()\nexcept Exception as error:\n    answers = [error]",
        'done = status == "DELETE 0"',
        "task = asyncio.create_task(g())",
    ],
)
def test_what_keeps_the_rules_is_left_alone(source: str) -> None:
    for rule in (sql_put_together, broad_excepts, globals_changed, orphan_tasks):
        assert list(rule(ast.parse(source), "x.py")) == []


def test_no_forbidden_words() -> None:
    found = [each for path in TEXT for each in words(path.read_text(), str(path.relative_to(ROOT)))]
    assert found == []


@pytest.mark.parametrize("word", WORDS)
def test_a_forbidden_word_is_seen(word: str) -> None:
    assert list(words(f"something {word} something", "x.py"))


def test_nothing_new_at_the_top() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} <= TOP_LEVEL


def test_files_and_functions_are_small() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in PYTHON}
    assert {str(path): size for path, size in sizes.items() if size > 500} == {}
    assert statistics.median(sizes[path] for path in SOURCE) <= 150
    lengths = sorted(length(node) for path in SOURCE for node in functions(ast.parse(path.read_text())))
    assert statistics.median(lengths) <= 10
    assert lengths[len(lengths) * 9 // 10] <= 35


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in FILES if path.parent.name == "sql"}), ids=str
)
def test_every_statement_has_a_name_and_a_purpose(folder: Path) -> None:
    assert load(folder)


def test_every_package_is_shipped_with_its_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        str(path.parent.relative_to(ROOT)).replace("/", ".") for path in SOURCE if path.name == "__init__.py"
    }
    assert set(project["packages"]) == packages


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    _, _, section = (ROOT / "ARCHITECTURE.md").read_text().partition("## Dependencies")
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    names = {re.split(r"[\[<>=;! ]", each)[0] for each in [*project["dependencies"], *extras]}
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_every_door_says_what_is_behind_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    documented = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    assert documented == set(phony[1].split())
