"""X's API v2 on this machine, as its public documentation has it: enough of it for a bot that answers mentions.

Written from the documentation of the endpoints, fields and errors, with nothing of the bot but its keys; requests
are refused unless they are signed as OAuth 1.0a wants it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oauthlib.oauth1.rfc5849 import signature

BOT = 900
KEYS = {
    "TWITTER_API_KEY": "an-api-key",
    "TWITTER_API_SECRET": "an-api-secret",
    "TWITTER_ACCESS_TOKEN": f"{BOT}-an-access-token",
    "TWITTER_ACCESS_TOKEN_SECRET": "an-access-token-secret",
}
VIDEO = "https://video.twimg.com/amplify_video/{key}/vid/avc1/{size}/{name}.mp4?tag=16"
PHOTO = "https://pbs.twimg.com/media/{key}.jpg"
# The earliest post: ids grow with time, from here.
FIRST_ID = 1900000000000000000
USER = ("id", "name", "username")
PROBLEM = "https://api.twitter.com/2/problems/"

Row = dict[str, Any]


@dataclass
class Fault:
    """What goes wrong with the next request on ``route`` that has passed ``after`` others.

    With ``done`` it is carried out before it goes wrong; ``hangs`` are the seconds until the connection is cut.
    """

    route: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    done: bool = False
    hangs: float = 0.0
    after: int = 0


@dataclass
class FakeX:
    url: str = ""
    users: dict[int, Row] = field(default_factory=dict)
    posts: dict[int, Row] = field(default_factory=dict)
    media: dict[str, Row] = field(default_factory=dict)
    hidden: dict[int, str] = field(default_factory=dict)
    # What can be fetched from here, by path.
    files: dict[str, bytes] = field(default_factory=dict)
    # What the bot sent: rows with id, to, text, and of replies whom they left out.
    replies: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    restricted: set[int] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    # Each request: its route, and what it asked for.
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sends_media_of_others: bool = True
    # Called with the route, before the request is carried out and before it is answered.
    on_request: Callable[[str], None] = lambda route: None
    on_answer: Callable[[str], None] = lambda route: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.add_user("sentinelcheck", number=BOT)

    def clear(self) -> None:
        """Forget everything but the address."""
        fresh = FakeX(self.url)
        for name, value in vars(fresh).items():
            setattr(self, name, value)

    def add_user(self, name: str, *, number: int | None = None, protected: bool = False) -> int:
        number = number or 1000 + len(self.users)
        row = {"id": str(number), "name": name.title(), "username": name, "protected": protected}
        self.users[number] = row
        return number

    def add_video(
        self,
        *,
        seconds: float = 12.0,
        rates: tuple[int, ...] = (288000, 832000, 2176000),
        file: bytes | None = None,
    ) -> str:
        """A video; with ``file`` it can be fetched from here, else its address is X's own."""
        key = f"7_{FIRST_ID + len(self.media)}"
        urls = {rate: VIDEO.format(key=key, size="320x568", name=rate) for rate in rates}
        if file is not None:
            self.files[f"/media/{key}.mp4"] = file
            urls = dict.fromkeys(rates, f"{self.url}/media/{key}.mp4")
        variants: list[Row] = [
            {"bit_rate": rate, "content_type": "video/mp4", "url": url} for rate, url in urls.items()
        ]
        variants.insert(0, {"content_type": "application/x-mpegURL", "url": f"https://video.twimg.com/{key}.m3u8"})
        self.media[key] = {
            "media_key": key,
            "type": "video",
            "duration_ms": int(seconds * 1000),
            "variants": variants,
        }
        return key

    def add_gif(self) -> str:
        key = f"16_{FIRST_ID + len(self.media)}"
        url = f"https://video.twimg.com/tweet_video/{key}.mp4"
        variants = [{"bit_rate": 0, "content_type": "video/mp4", "url": url}]
        self.media[key] = {"media_key": key, "type": "animated_gif", "variants": variants}
        return key

    def add_photo(self) -> str:
        key = f"3_{FIRST_ID + len(self.media)}"
        self.media[key] = {"media_key": key, "type": "photo", "url": PHOTO.format(key=key)}
        return key

    def add_post(
        self,
        text: str,
        *,
        by: int,
        media: list[str] | None = None,
        replies_to: int | None = None,
        quotes: int | None = None,
        reposts: int | None = None,
        lang: str = "en",
        age: float = 0.0,
    ) -> int:
        """A post; those that ``text`` names by @ are mentioned in it. Returns its id."""
        with self.lock:
            number = FIRST_ID + 1000 * (len(self.posts) + 1)
            parent = self.posts.get(replies_to) if replies_to else None
            moment = datetime.now(UTC) - timedelta(seconds=age)
            row: Row = {
                "id": str(number),
                "text": text,
                "author_id": str(by),
                "conversation_id": parent["conversation_id"] if parent else str(replies_to or number),
                "created_at": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "edit_history_tweet_ids": [str(number)],
                "lang": lang,
            }
            names = {user["username"]: user["id"] for user in self.users.values()}
            if mentions := [
                {"start": one.start(), "end": one.end(), "username": one[1], "id": names[one[1]]}
                for one in re.finditer(r"@(\w+)", text)
                if one[1] in names
            ]:
                row["entities"] = {"mentions": mentions}
            if media:
                row["attachments"] = {"media_keys": media}
            references = [("replied_to", replies_to), ("quoted", quotes), ("retweeted", reposts)]
            if kept := [{"type": kind, "id": str(other)} for kind, other in references if other]:
                row["referenced_tweets"] = kept
            if parent:
                row["in_reply_to_user_id"] = parent["author_id"]
            self.posts[number] = row
            return number

    def mention(self, *, by: str = "asha", text: str = "@sentinelcheck is this real?", **fields: Any) -> int:
        """A post that tags the bot, by somebody who may be new."""
        known = {user["username"]: number for number, user in self.users.items()}
        return self.add_post(text, by=known.get(by) or self.add_user(by), **fields)

    def video_post(self, *, by: str = "poster", **video: Any) -> int:
        return self.mention(by=by, text="Look at this https://t.co/abc", media=[self.add_video(**video)])

    def count(self, route: str) -> int:
        return sum(name == route for name, _query in self.requests)

    def delete_post(self, number: int) -> None:
        del self.posts[number]
        self.hidden[number] = "gone"

    def protect(self, number: int) -> None:
        self.hidden[number] = "private"

    # What is behind each address.

    def routed(self, method: str, path: str) -> str:
        routes = {
            ("GET", r"/2/users/me"): "me",
            ("GET", rf"/2/users/{BOT}/mentions"): "mentions",
            ("GET", rf"/2/users/{BOT}/tweets"): "own",
            ("GET", r"/2/tweets"): "tweets",
            ("POST", r"/2/tweets"): "reply",
            ("POST", r"/2/dm_conversations/with/\d+/messages"): "dm",
            ("GET", r"/2/dm_conversations/with/\d+/dm_events"): "dm_events",
        }
        found = [name for (verb, pattern), name in routes.items() if verb == method and re.fullmatch(pattern, path)]
        return found[0] if found else ""

    def carry_out(self, route: str, path: str, query: dict[str, str], body: Row) -> tuple[int, Row]:
        with self.lock:
            participant = int(path.split("/")[4]) if route in {"dm", "dm_events"} else 0
            answers: dict[str, Callable[[], tuple[int, Row]]] = {
                "me": lambda: (200, {"data": self._only(self.users[BOT], query, "user.fields", USER)}),
                "mentions": lambda: (200, self._page(query, lambda row: str(BOT) in self._mentioned(row))),
                "own": lambda: (200, self._page(query, lambda row: row["author_id"] == str(BOT))),
                "tweets": lambda: (200, self._lookup(query)),
                "reply": lambda: self._reply(body),
                "dm": lambda: self._message(participant, body),
                "dm_events": lambda: (200, self._events(participant)),
            }
            return answers[route]()

    def _mentioned(self, row: Row) -> set[str]:
        return {one["id"] for one in row.get("entities", {}).get("mentions", [])}

    def _only(self, row: Row, query: dict[str, str], name: str, always: tuple[str, ...]) -> Row:
        asked = {*query.get(name, "").split(","), *always}
        return {key: value for key, value in row.items() if key in asked}

    def _post(self, row: Row, query: dict[str, str]) -> Row:
        return self._only(row, query, "tweet.fields", ("id", "text", "edit_history_tweet_ids"))

    def _page(self, query: dict[str, str], wanted: Callable[[Row], bool]) -> Row:
        size = int(query.get("max_results", "10"))
        assert 5 <= size <= 100, "max_results"
        since_id = int(query.get("since_id", "0"))
        start = query.get("start_time", "")
        rows = [
            row
            for number, row in sorted(self.posts.items(), reverse=True)
            if number > since_id and row["created_at"][:19] >= start[:19] and wanted(row) and number not in self.hidden
        ]
        first = int(query.get("pagination_token", "t0")[1:])
        shown = rows[first : first + size]
        answer: Row = {"meta": {"result_count": len(shown)}}
        if not shown:
            return answer
        answer["meta"] |= {"newest_id": shown[0]["id"], "oldest_id": shown[-1]["id"]}
        if first + size < len(rows):
            answer["meta"]["next_token"] = f"t{first + size}"
        answer["data"] = [self._post(row, query) for row in shown]
        return answer | self._included(shown, query)

    def _included(self, rows: list[Row], query: dict[str, str]) -> Row:
        expansions = query.get("expansions", "").split(",")
        includes: dict[str, dict[str, Row]] = {"media": {}, "tweets": {}, "users": {}}
        errors: list[Row] = []

        def add_media(row: Row) -> None:
            for key in row.get("attachments", {}).get("media_keys", []):
                fields = ("media_key", "type")
                includes["media"][key] = self._only(self.media[key], query, "media.fields", fields)

        def add_user(row: Row) -> None:
            user = self.users[int(row["author_id"])]
            includes["users"][user["id"]] = self._only(user, query, "user.fields", USER)

        for row in rows:
            if "attachments.media_keys" in expansions:
                add_media(row)
            if "author_id" in expansions:
                add_user(row)
            for reference in row.get("referenced_tweets", []) if "referenced_tweets.id" in expansions else []:
                number = int(reference["id"])
                if number in self.hidden or number not in self.posts:
                    errors.append(self._problem(number, "referenced_tweets.id"))
                    continue
                other = self.posts[number]
                includes["tweets"][other["id"]] = self._post(other, query)
                if "referenced_tweets.id.author_id" in expansions:
                    add_user(other)
                if "referenced_tweets.id.attachments.media_keys" in expansions and self.sends_media_of_others:
                    add_media(other)
        answer: Row = {}
        if kept := {name: list(found.values()) for name, found in includes.items() if found}:
            answer["includes"] = kept
        if errors:
            answer["errors"] = errors
        return answer

    def _problem(self, number: int, parameter: str) -> Row:
        shared = {"value": str(number), "resource_id": str(number), "parameter": parameter, "resource_type": "tweet"}
        if self.hidden.get(number) == "private":
            return {
                **shared,
                "title": "Authorization Error",
                "detail": f"Sorry, you are not authorized to see the Tweet with {parameter}: [{number}].",
                "type": f"{PROBLEM}not-authorized-for-resource",
            }
        return {
            **shared,
            "title": "Not Found Error",
            "detail": f"Could not find tweet with {parameter}: [{number}].",
            "type": f"{PROBLEM}resource-not-found",
        }

    def _lookup(self, query: dict[str, str]) -> Row:
        numbers = [int(number) for number in query["ids"].split(",")]
        assert len(numbers) <= 100, "ids"
        rows = [self.posts[number] for number in numbers if number in self.posts and number not in self.hidden]
        answer = self._included(rows, query)
        if rows:
            answer["data"] = [self._post(row, query) for row in rows]
        if missing := [number for number in numbers if number in self.hidden]:
            answer["errors"] = [self._problem(number, "ids") for number in missing]
        return answer

    def _reply(self, body: Row) -> tuple[int, Row]:
        text, to = str(body["text"]), int(body["reply"]["in_reply_to_tweet_id"])
        if to in self.restricted:
            return _refusal(403, "You are not permitted to reply to this conversation.")
        if to in self.hidden:
            return _refusal(403, "You attempted to reply to a Tweet that is deleted or not visible to you.")
        if any(row["text"] == text for row in self.replies):
            return _refusal(403, "You are not allowed to create a Tweet with duplicate content.")
        number = self.add_post(text, by=BOT, replies_to=to)
        without = [int(user) for user in body["reply"].get("exclude_reply_user_ids", [])]
        self.replies.append({"id": number, "to": to, "text": text, "without": without})
        return 201, {"data": {"id": str(number), "text": text, "edit_history_tweet_ids": [str(number)]}}

    def _message(self, participant: int, body: Row) -> tuple[int, Row]:
        if participant in self.closed:
            return _refusal(403, "You do not have permission to DM one or more participants.")
        number = FIRST_ID + 500 + 1000 * len(self.messages)
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.messages.append({"id": number, "to": participant, "text": str(body["text"]), "at": moment})
        conversation = "-".join(str(one) for one in sorted((BOT, participant)))
        return 201, {"data": {"dm_conversation_id": conversation, "dm_event_id": str(number)}}

    def _events(self, participant: int) -> Row:
        rows = [
            {
                "id": str(row["id"]),
                "event_type": "MessageCreate",
                # X puts its own addresses in the place of links.
                "text": re.sub(r"https?://\S+", "https://t.co/xyz", row["text"]),
                "sender_id": str(BOT),
                "dm_conversation_id": f"{BOT}-{participant}",
                "created_at": row["at"],
            }
            for row in reversed(self.messages)
            if row["to"] == participant
        ]
        return {"data": rows, "meta": {"result_count": len(rows)}} if rows else {"meta": {"result_count": 0}}


def _refusal(status: int, detail: str) -> tuple[int, Row]:
    titles = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
    return status, {"detail": detail, "type": "about:blank", "title": titles[status], "status": status}


def is_signed(method: str, url: str, authorization: str) -> bool:
    """Whether a request carries the signature that its owner's keys make (RFC 5849)."""
    if not authorization.startswith("OAuth "):
        return False
    parameters = signature.collect_parameters(
        uri_query=urlsplit(url).query, headers={"Authorization": authorization}, exclude_oauth_signature=False
    )
    given = dict(parameters).get("oauth_signature", "")
    signed = [pair for pair in parameters if pair[0] != "oauth_signature"]
    base = signature.signature_base_string(
        method, signature.base_string_uri(url), signature.normalize_parameters(signed)
    )
    secrets = KEYS["TWITTER_API_SECRET"], KEYS["TWITTER_ACCESS_TOKEN_SECRET"]
    named = dict(parameters)
    expected = signature.sign_hmac_sha1_with_client(base, _Secrets(*secrets))
    keys = named["oauth_consumer_key"], named["oauth_token"]
    return bool(given == expected and keys == (KEYS["TWITTER_API_KEY"], KEYS["TWITTER_ACCESS_TOKEN"]))


@dataclass
class _Secrets:
    client_secret: str
    resource_owner_secret: str


@contextmanager
def fake_x() -> Iterator[FakeX]:
    """A running X."""
    x = FakeX()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if (file := x.files.get(self.path)) is not None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp4")
                self.send_header("Content-Length", str(len(file)))
                self.end_headers()
                self.wfile.write(file)
            elif self.path.startswith("/media/"):
                self._answer(*_refusal(404, "Not Found"))
            else:
                self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def _serve(self, method: str) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            route = x.routed(method, parts.path)
            x.on_request(route)
            with x.lock:
                x.requests.append((route, query))
                fault = self._fault(route)
            if not is_signed(method, f"{x.url}{self.path}", self.headers.get("Authorization", "")):
                self._answer(*_refusal(401, "Unauthorized"))
                return
            if not route:
                self._answer(*_refusal(404, "Not Found"))
                return
            if fault is None or fault.done:
                status, answer = x.carry_out(route, parts.path, query, json.loads(raw) if raw else {})
            x.on_answer(route)
            if fault is None:
                self._answer(status, answer)
                return
            if fault.hangs:
                time.sleep(fault.hangs)
            if fault.status == 0:
                self.close_connection = True
                return
            title = {"title": str(fault.status), "type": "about:blank", "status": fault.status, "detail": "no"}
            self._answer(fault.status, title, fault.headers, fault.body)

        def _fault(self, route: str) -> Fault | None:
            for fault in x.faults:
                if fault.route != route:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    return None
                x.faults.remove(fault)
                return fault
            return None

        def _answer(
            self, status: int, answer: Row, headers: dict[str, str] | None = None, body: bytes | None = None
        ) -> None:
            content = json.dumps(answer).encode() if body is None else body
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                # Cut off by the bot, or by its end.
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    x.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield x
    finally:
        server.shutdown()
        server.server_close()
