"""What the OpenAPI schema says of every operation alike, so that views need not repeat it."""

from __future__ import annotations

import json
from typing import Any

from accounts.answers import error_body
from accounts.errors import STATUS, Code, SentinelError
from accounts.schema import TOO_MANY_REQUESTS

Node = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
ERROR = "ErrorOutput"
# What carries this tag may be asked as often as anybody likes.
UNLIMITED = "service"

TAGS = [
    {"name": "account", "description": "Signing up, the profile, the password, today's limit, push devices, leaving."},
    {"name": "tokens", "description": "Logging in and out on a device, and going on after the hour of a token."},
    {"name": "analyses", "description": "Submitting videos and photos, following them, results, opinions, deletion."},
    {"name": "uploads", "description": "Sending a file in pieces, which a bad network cannot spoil."},
    {"name": "models", "description": "The detectors of this site and how often they err."},
    {"name": "reports", "description": "Results as documents to print and hand on."},
    {"name": "cases", "description": "Files of one matter together, with notes and colleagues who may look at them."},
    {"name": "service", "description": "Whether the site works."},
    {
        "name": "mobile",
        "description": "The eleven addresses that phone apps in the field call. They take JSON, form and multipart "
        "bodies, with or without a slash at the end of the path. New apps use `/api/v1/`.",
    },
]

DESCRIPTION = """\
Tell fabricated videos and photos of people from original ones.

Every error has the same shape and one of the machine names of `ErrorOutput`. Texts are for users, in the language of
`Accept-Language` or of the account. A failure is never a score: look at `status` and `outcome` before any number.

The guide with examples to copy is at [/developers/](/developers/).
"""

# How the generated operations are called: these are the methods of clients.
OPERATION_IDS: dict[tuple[str, str], str] = {
    ("post", "/api/v1/account/"): "sign_up",
    ("get", "/api/v1/account/"): "get_account",
    ("patch", "/api/v1/account/"): "change_account",
    ("put", "/api/v1/account/password/"): "change_password",
    ("post", "/api/v1/account/delete/"): "delete_account",
    ("get", "/api/v1/push-devices/"): "list_push_devices",
    ("post", "/api/v1/push-devices/"): "register_push_device",
    ("delete", "/api/v1/push-devices/{public_id}/"): "remove_push_device",
    ("get", "/api/v1/notifications/"): "list_notifications",
    ("get", "/api/v1/notifications/state/"): "get_notification_state",
    ("post", "/api/v1/notifications/read/"): "mark_all_notifications_read",
    ("post", "/api/v1/notifications/{public_id}/read/"): "mark_notification_read",
    ("post", "/api/v1/tokens/"): "log_in",
    ("post", "/api/v1/tokens/refresh/"): "refresh_tokens",
    ("post", "/api/v1/tokens/revoke/"): "log_out",
    ("get", "/api/v1/sessions/"): "list_sessions",
    ("delete", "/api/v1/sessions/"): "end_all_sessions",
    ("delete", "/api/v1/sessions/{public_id}/"): "end_session",
    ("get", "/api/v1/analyses/"): "list_analyses",
    ("post", "/api/v1/analyses/"): "submit",
    ("get", "/api/v1/analyses/{public_id}/"): "get_analysis",
    ("delete", "/api/v1/analyses/{public_id}/"): "delete_analysis",
    ("get", "/api/v1/analyses/{public_id}/progress/"): "get_progress",
    ("post", "/api/v1/analyses/{public_id}/retry/"): "retry",
    ("get", "/api/v1/analyses/{public_id}/media/"): "get_original",
    ("get", "/api/v1/analyses/{public_id}/pictures/"): "list_pictures",
    ("get", "/api/v1/analyses/{public_id}/pictures/{name}"): "get_picture",
    ("get", "/api/v1/analyses/{public_id}/feedback/"): "get_feedback",
    ("put", "/api/v1/analyses/{public_id}/feedback/"): "give_feedback",
    ("get", "/api/v1/analyses/{public_id}/report/"): "get_report",
    ("post", "/api/v1/check/"): "check_document",
    ("get", "/api/v1/analyses/{public_id}/package/"): "get_package",
    ("get", "/api/v1/analyses/{public_id}/card/"): "get_card",
    ("post", "/api/v1/analyses/{public_id}/card/"): "publish_card",
    ("delete", "/api/v1/analyses/{public_id}/card/"): "withdraw_card",
    ("get", "/api/v1/receipts/"): "list_receipts",
    ("get", "/api/v1/cases/"): "list_cases",
    ("post", "/api/v1/cases/"): "open_case",
    ("get", "/api/v1/cases/{public_id}/"): "get_case",
    ("patch", "/api/v1/cases/{public_id}/"): "change_case",
    ("delete", "/api/v1/cases/{public_id}/"): "delete_case",
    ("get", "/api/v1/cases/{public_id}/media/"): "list_case_files",
    ("post", "/api/v1/cases/{public_id}/media/"): "add_case_files",
    ("delete", "/api/v1/cases/{public_id}/media/{media_id}/"): "remove_case_file",
    ("get", "/api/v1/cases/{public_id}/notes/"): "list_case_notes",
    ("post", "/api/v1/cases/{public_id}/notes/"): "add_case_note",
    ("get", "/api/v1/cases/{public_id}/members/"): "list_case_members",
    ("post", "/api/v1/cases/{public_id}/members/"): "invite_to_case",
    ("put", "/api/v1/cases/{public_id}/members/{user_id}/"): "change_case_role",
    ("delete", "/api/v1/cases/{public_id}/members/{user_id}/"): "remove_case_member",
    ("get", "/api/v1/case-invitations/"): "list_case_invitations",
    ("post", "/api/v1/case-invitations/{public_id}/accept/"): "accept_case_invitation",
    ("delete", "/api/v1/case-invitations/{public_id}/"): "end_case_invitation",
    ("get", "/api/v1/cases/{public_id}/documents/"): "list_case_documents",
    ("post", "/api/v1/cases/{public_id}/documents/"): "make_case_document",
    ("get", "/api/v1/cases/{public_id}/documents/{document_id}/"): "get_case_document",
    ("get", "/api/v1/cases/{public_id}/documents/{document_id}/file/"): "get_case_document_file",
    ("get", "/api/v1/uploads/"): "list_uploads",
    ("post", "/api/v1/uploads/"): "begin_upload",
    ("get", "/api/v1/uploads/{public_id}/"): "get_upload",
    ("patch", "/api/v1/uploads/{public_id}/"): "continue_upload",
    ("delete", "/api/v1/uploads/{public_id}/"): "delete_upload",
    ("get", "/api/v1/models/"): "list_models",
    ("get", "/api/v1/models/{name}/"): "get_model",
    ("get", "/api/v1/health/"): "get_health",
    ("get", "/api/v1/live/"): "get_liveness",
    ("get", "/api/v1/ready/"): "get_readiness",
    ("post", "/users/signup"): "mobile_sign_up",
    ("post", "/users/login"): "mobile_log_in",
    ("post", "/classify"): "mobile_classify",
    ("post", "/fetch-history"): "mobile_fetch_history",
    ("get", "/pdf"): "mobile_get_report",
    ("post", "/remove"): "mobile_remove",
    ("post", "/get-image"): "mobile_submit_image",
    ("get", "/get-image"): "mobile_get_image",
    ("get", "/get-image/image"): "mobile_get_image_file",
    ("post", "/remove/image"): "mobile_remove_image",
    ("get", "/pdf-image"): "mobile_get_image_report",
}

SCHEMES = {
    "token": "The access token that logging in gives, for an hour.",
    "session": "The cookie of who is logged in on the site. What changes something needs `X-CSRFToken` as well.",
}

# What needs no words of its own at each address.
PARAMETERS = {
    "public_id": "Its id: 24 hexadecimal characters.",
    "format": "Where no `Accept` header can be sent: the format in its place.",
}
PAGE_FIELDS = {
    "count": "How many there are on all pages.",
    "next": "The address of the next page; null on the last.",
    "previous": "The address of the page before; null on the first.",
    "results": "What is on this page.",
}

RATE_HEADERS: Node = {
    "X-RateLimit-Limit": "Requests that you may send in the period.",
    "X-RateLimit-Remaining": "How many of them are left.",
    "X-RateLimit-Reset": "In how many seconds all of them are there again.",
}


def rate_limit_headers() -> Node:
    """Components for the headers that every answer may carry, and the one of a refusal."""
    whole = {"type": "integer", "minimum": 0}
    headers: Node = {name: {"description": text, "schema": whole} for name, text in RATE_HEADERS.items()}
    return {**headers, "Retry-After": {"description": "In how many seconds to try again.", "schema": whole}}


def complete_schema(result: Node, generator: Any, **_options: Any) -> Node:
    """A postprocessing hook of drf-spectacular: paths, names, the error's shape, headers, and shared answers."""
    result["info"]["description"] = DESCRIPTION
    result["tags"] = TAGS
    components = result["components"]
    components["schemas"][ERROR] = error_schema(components["schemas"].get(ERROR, {}))
    for name, component in components["schemas"].items():
        for field, text in PAGE_FIELDS.items() if name.startswith("Paginated") else ():
            component["properties"][field]["description"] = text
    components["headers"] = rate_limit_headers()
    for name, text in SCHEMES.items():
        components["securitySchemes"][name]["description"] = text
    result["paths"] = _without_optional_slashes(result["paths"])
    for path, operations in result["paths"].items():
        for method in METHODS:
            if operation := operations.get(method):
                _complete(operation, method, OPERATION_IDS.get((method, path)))
    components["responses"] = _share_refusals(result["paths"])
    return result


def error_schema(written: Node) -> Node:
    """The one shape of errors, with all machine names."""
    fields = written.get("properties", {})
    statuses = sorted(set(STATUS.values()))
    return {
        **written,
        "type": "object",
        "description": "A refusal or failure. Programs go by `error`, people read `message`.",
        "properties": {
            **fields,
            "code": {"type": "integer", "enum": statuses, "description": "The HTTP status."},
            "success": {"type": "boolean", "const": False, "description": "Always false."},
            "error": {"type": "string", "enum": sorted(Code), "description": "The machine name of the error."},
        },
    }


def _without_optional_slashes(paths: Node) -> Node:
    """The phone apps' paths match with and without a slash at the end: the contract's way of writing is without."""
    return {path if path.startswith("/api/") else path.removesuffix("/"): found for path, found in paths.items()}


def _complete(operation: Node, method: str, name: str | None) -> None:
    if name:
        operation["operationId"] = name
    for parameter in operation.get("parameters", []):
        if not parameter.get("description"):
            parameter["description"] = PARAMETERS[parameter["name"]]
    answers = operation["responses"]
    for answer in answers.values():
        answer["description"] = answer.get("description") or f"{operation['summary']}."
    limited = UNLIMITED not in operation.get("tags", ())
    if limited and "429" not in answers:
        answers["429"] = _refusal(TOO_MANY_REQUESTS)
    if operation.get("security") and {} not in operation["security"] and "401" not in answers:
        answers["401"] = _refusal(SentinelError(Code.NOT_AUTHENTICATED))
    # From the site's own pages, but without their token.
    by_session = any("session" in way for way in operation.get("security", ()))
    if by_session and method not in {"get", "head", "options"} and "403" not in answers:
        answers["403"] = _refusal(SentinelError(Code.FORBIDDEN))
    if operation.get("requestBody") and "415" not in answers:
        answers["415"] = _refusal(SentinelError(Code.BODY_NOT_SUPPORTED))
    for status, answer in answers.items() if limited else ():
        names = [*RATE_HEADERS, *(["Retry-After"] if status == "429" else [])]
        answer["headers"] = {
            **{name: {"$ref": f"#/components/headers/{name}"} for name in names},
            **answer.get("headers", {}),
        }
    operation["responses"] = dict(sorted(answers.items()))


def _refusal(error: SentinelError) -> Node:
    return {
        "description": error.text,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{ERROR}"},
                "examples": {_camel(error.code): {"value": error_body(error), "summary": str(error.code)}},
            }
        },
    }


def _share_refusals(paths: Node) -> Node:
    """Move refusals that several operations answer alike into components, each named after its errors."""
    seen: dict[str, list[tuple[Node, str]]] = {}
    for operations in paths.values():
        for method in METHODS:
            answers = operations.get(method, {}).get("responses", {})
            for status, answer in answers.items():
                if int(status) >= 400:
                    seen.setdefault(json.dumps([status, answer], sort_keys=True), []).append((answers, status))
    shared: Node = {}
    for places in seen.values():
        if len(places) == 1:
            continue
        answers, status = places[0]
        answer = answers[status]
        name = _unused_name(answer, shared)
        shared[name] = answer
        for holder, at in places:
            holder[at] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


def _unused_name(answer: Node, taken: Node) -> str:
    examples = answer["content"]["application/json"].get("examples", {})
    codes = dict.fromkeys(example["value"]["error"] for example in examples.values())
    name = "".join(map(_camel, codes)) or "Refusal"
    number = 2
    unused = name
    while unused in taken:
        unused = f"{name}{number}"
        number += 1
    return unused


def _camel(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))
