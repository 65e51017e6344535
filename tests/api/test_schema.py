"""What the OpenAPI schema says, and that nothing in it is left unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from accounts.errors import STATUS, Code
from sentinel_site.api_schema import METHODS, OPERATION_IDS, TAGS, UNLIMITED
from tests.site_process import ROOT

Node = dict[str, Any]

# Of types that an example cannot be written for: the answer is the file itself.
BINARY = ("application/pdf", "application/zip", "application/octet-stream", "image/", "video/")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@cache
def schema() -> Node:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    return dict(generator.get_schema(request=None, public=True))


def operations() -> list[tuple[str, str, Node]]:
    return [
        (method, path, found[method])
        for path, found in schema()["paths"].items()
        for method in METHODS
        if method in found
    ]


def resolve(node: Node) -> Node:
    while "$ref" in node:
        found: Any = schema()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def answers(operation: Node) -> Iterator[tuple[str, Node]]:
    for status, answer in operation["responses"].items():
        yield status, resolve(answer)


def examples_of(content: Node) -> list[Any]:
    found = [example["value"] for example in content.get("examples", {}).values()]
    return [*found, *([content["example"]] if "example" in content else [])]


def test_every_operation_says_what_it_does_and_is_called() -> None:
    missing = [
        f"{method} {path}: {key}"
        for method, path, operation in operations()
        for key in ("summary", "description", "operationId", "tags")
        if not operation.get(key)
    ]
    assert missing == []
    tags = {tag for _, _, operation in operations() for tag in operation["tags"]}
    assert tags <= {tag["name"] for tag in TAGS}


def test_operations_are_named_for_the_methods_of_a_client() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert [name for name in names if not NAME.fullmatch(name)] == []
    unnamed = [f"{method} {path}" for method, path, _ in operations() if (method, path) not in OPERATION_IDS]
    assert unnamed == [], "name them in sentinel_site/api_schema.py"
    gone = set(OPERATION_IDS) - {(method, path) for method, path, _ in operations()}
    assert gone == set()


def test_every_field_and_parameter_is_described() -> None:
    bare = [
        f"{name}.{field}"
        for name, component in schema()["components"]["schemas"].items()
        for field, about in component.get("properties", {}).items()
        if not about.get("description") and not resolve(about).get("description")
    ]
    bare += [
        f"{method} {path} {parameter['name']}"
        for method, path, operation in operations()
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
    ]
    assert bare == []


def test_every_answer_is_described_and_has_an_example() -> None:
    bare = [
        f"{method} {path} {status} {content_type}"
        for method, path, operation in operations()
        for status, answer in answers(operation)
        for content_type, content in answer.get("content", {}).items()
        if not answer["description"] or (not content_type.startswith(BINARY) and not examples_of(content))
    ]
    assert bare == []


def test_examples_are_as_the_schema_says() -> None:
    """Above all those of errors, whose texts and names come from the code."""
    wrong = []
    for method, path, operation in operations():
        for status, answer in answers(operation):
            for content in answer.get("content", {}).values():
                validator = Draft202012Validator({**content.get("schema", {}), "components": schema()["components"]})
                wrong += [
                    f"{method} {path} {status}: {error.json_path}: {error.message[:200]}"
                    for example in examples_of(content)
                    for error in validator.iter_errors(example)
                ]
    assert wrong == []


def test_errors_have_one_shape_and_the_status_that_they_name() -> None:
    wrong = []
    for method, path, operation in operations():
        for status, answer in answers(operation):
            if int(status) < 400 or (path in {"/api/v1/health/", "/api/v1/ready/"} and status == "503"):
                continue
            content = answer["content"]["application/json"]
            if content["schema"] != {"$ref": "#/components/schemas/ErrorOutput"}:
                wrong.append(f"{method} {path} {status}: another shape")
            wrong += [
                f"{method} {path} {status}: {example['error']}"
                for example in examples_of(content)
                if str(STATUS[Code(example["error"])]) != status or example["code"] != int(status)
            ]
    assert wrong == []
    properties = schema()["components"]["schemas"]["ErrorOutput"]["properties"]
    assert properties["error"]["enum"] == sorted(Code)


def test_every_operation_may_refuse_too_many_requests_but_those_that_are_not_counted() -> None:
    without = [f"{method} {path}" for method, path, found in operations() if "429" not in found["responses"]]
    assert without == ["get /api/v1/health/", "get /api/v1/live/", "get /api/v1/ready/"]


def test_who_has_to_be_logged_in_may_be_answered_401() -> None:
    without = [
        f"{method} {path}"
        for method, path, operation in operations()
        if operation.get("security") and {} not in operation["security"] and "401" not in operation["responses"]
    ]
    assert without == []


def test_what_a_session_changes_may_be_answered_403() -> None:
    """Without its CSRF token. Members of a case may look at what only the owner of a file may do."""
    without = [
        f"{method} {path}"
        for method, path, operation in operations()
        if method not in {"get", "head"}
        and any("session" in way for way in operation.get("security", []))
        and "403" not in operation["responses"]
    ]
    assert without == []
    assert "403" in schema()["paths"]["/api/v1/analyses/{public_id}/feedback/"]["get"]["responses"]


def test_the_rates_are_told_with_every_answer() -> None:
    for _, _, operation in operations():
        for status, answer in answers(operation) if UNLIMITED not in operation["tags"] else ():
            assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer["headers"])
            assert ("Retry-After" in answer["headers"]) == (status == "429")


def test_the_committed_schema_is_valid_yaml_of_version_3_1() -> None:
    written = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8"))
    assert written["openapi"].startswith("3.1")
    assert set(written["components"]["securitySchemes"]) == {"token", "session"}
