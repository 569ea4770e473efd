"""The description of the API: current, whole, and fit to make a client from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from app.description import operations
from app.errors import MEDIA_TYPE
from app.schemas.openai import OpenAIErrorOut
from app.schemas.sdapi import SdapiErrorOut
from tests.app.test_keys import all_routes

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"

DIALECTS: dict[str, type[BaseModel]] = {"OpenAI dialect": OpenAIErrorOut, "A1111 dialect": SdapiErrorOut}

CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z0-9]+)*")


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    """The document as it is served."""
    return app.openapi()


def test_the_committed_document_is_the_one_that_is_served(document: dict[str, Any]) -> None:
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(document)), (
        "written anew by `darkroom openapi docs/openapi.json`"
    )


def test_every_operation_has_a_name_of_its_own_that_was_chosen(app: FastAPI, document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names)) > 15
    assert [name for name in names if not CAMEL_CASE.fullmatch(name)] == []
    unnamed = [route.path for route in all_routes(app) if route.include_in_schema and not route.operation_id]
    assert unnamed == []


def test_every_operation_says_what_it_does_and_what_may_go_wrong(document: dict[str, Any]) -> None:
    for method, operation in operations(document):
        name, responses = operation["operationId"], operation["responses"]
        assert operation.get("description"), name
        assert {"400", "500"} <= set(responses), name
        if operation.get("security"):
            assert {"401", "429", "503"} <= set(responses), name
        if method in ("post", "put", "patch", "delete"):
            assert "403" in responses, name
        if "requestBody" in operation:
            impossible = "400" if "OpenAI dialect" in operation["tags"] else "422"
            assert {"408", "413", impossible} <= set(responses), name


def test_every_error_is_a_problem_with_an_example(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        if DIALECTS.keys() & set(operation["tags"]):
            continue
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            examples = response["content"][MEDIA_TYPE]["examples"]
            assert examples, (operation["operationId"], status)
            for slug, reference in examples.items():
                assert reference == {"$ref": f"#/components/examples/{slug}"}
                example = document["components"]["examples"][slug]
                assert example["value"]["type"] == f"urn:darkroom:problem:{slug}"
                assert example["value"]["status"] == int(status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize("dialect", ["OpenAI dialect", "A1111 dialect"])
def test_every_error_of_a_dialect_has_its_shape(document: dict[str, Any], dialect: str) -> None:
    model, tried = DIALECTS[dialect], 0
    for _, operation in operations(document):
        if dialect in operation["tags"]:
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    tried += 1
                    ((media_type, content),) = response["content"].items()
                    assert media_type == "application/json"
                    assert content["schema"] == {"$ref": f"#/components/schemas/{model.__name__}"}
                    for example in content["examples"].values():
                        model.model_validate(example["value"], strict=True)
    assert tried > 20


def test_every_link_leads_to_an_operation_and_one_of_its_parameters(document: dict[str, Any]) -> None:
    known = {operation["operationId"]: operation for _, operation in operations(document)}
    links = [
        link
        for operation in known.values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(links) >= 10
    for link in links:
        parameters = {each["name"] for each in known[link["operationId"]]["parameters"]}
        assert set(link["parameters"]) <= parameters


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for _, operation in operations(document):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json":
                assert content.get("examples") or _examples_of(document, content["schema"]), operation["operationId"]


def _examples_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document["components"]["schemas"].get(name, schema)
    return found.get("examples") or all("examples" in each for each in found.get("properties", {}).values())
