"""The description is the API: every route, the types that are decoded, the queries that are read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.openapi import BODIES, QUERIES, document
from gateway.routes import BOARD, GAME, ROUTES, USER
from rank_service import routes as rank
from score_service import routes as score

DOCUMENT = document()

SERVED: dict[str, type[msgspec.Struct]] = {
    f"{BOARD}/top": rank.TopQuery,
    f"{BOARD}/users/{{user_id}}": rank.SeasonQuery,
    f"{BOARD}/users/{{user_id}}/around": rank.AroundQuery,
    f"{BOARD}/users/{{user_id}}/history": rank.HistoryQuery,
    f"{BOARD}/rank": rank.WhatIfQuery,
    f"{BOARD}/distribution": rank.SpreadQuery,
    f"{BOARD}/stream": rank.StreamQuery,
    f"{GAME}/users": rank.SearchQuery,
    f"{USER}/sessions": rank.SessionsQuery,
    f"{GAME}/audit": score.AuditQuery,
    "/v1/games": score.GamesQuery,
    f"{GAME}/sessions": score.SessionsQuery,
    f"{USER}/export": score.ExportQuery,
}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(m.upper(), path) for path, calls in DOCUMENT["paths"].items() for m in calls}
    assert described == {(route.method, route.pattern) for route in ROUTES}


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        target: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target


def test_operations_have_names_of_their_own() -> None:
    names = [call["operationId"] for calls in DOCUMENT["paths"].values() for call in calls.values()]
    assert len(set(names)) == len(names) == len(ROUTES)


def test_patterns_are_those_of_json_schema() -> None:
    assert "\\A" not in msgspec.json.encode(DOCUMENT).decode()
    assert "\\Z" not in msgspec.json.encode(DOCUMENT).decode()


def test_every_path_parameter_is_described() -> None:
    for path, calls in DOCUMENT["paths"].items():
        for call in calls.values():
            described = {each["name"] for each in call["parameters"] if each["in"] == "path"}
            assert described == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_every_answer_has_a_type() -> None:
    for path, calls in DOCUMENT["paths"].items():
        for method, call in calls.items():
            content = call["responses"].get("200", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {"$ref": ""})
            assert "$ref" in schema, (method, path)


def test_every_body_belongs_to_a_route() -> None:
    assert set(BODIES) <= {(route.method, route.pattern) for route in ROUTES}


@pytest.mark.parametrize("path", SERVED)
def test_a_query_is_described_as_its_service_reads_it(path: str) -> None:
    described, served = (msgspec.structs.fields(shape) for shape in (QUERIES[path], SERVED[path]))
    assert {field.encode_name: (field.required, field.default) for field in described} == {
        field.encode_name: (field.required, field.default) for field in served
    }
