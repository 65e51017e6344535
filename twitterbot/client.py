"""Speaking with X, and nothing else: API v2 by tweepy, as one account (OAuth 1.0a user context).

Every call returns what X said, as typed rows, or raises :class:`XError`. Nothing is retried here, nothing is written.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import requests
import tweepy
from django.utils import timezone
from requests.adapters import HTTPAdapter

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The one host that tweepy knows. It is replaced before a request is signed: the signature covers it.
TWEEPY_HOST = "https://api.twitter.com"
MAX_ANSWER_BYTES = 10 * 1024 * 1024
PAGE_SIZE = 100
SMALLEST_PAGE = 5
# X's windows are 15 minutes long: what to wait where it does not say.
WINDOW = timedelta(minutes=15)
# What to wait for somebody to pay.
UNPAID_WAIT = timedelta(hours=1)

POST_FIELDS = [
    *("attachments", "author_id", "conversation_id", "created_at", "edit_history_tweet_ids", "entities"),
    *("in_reply_to_user_id", "lang", "referenced_tweets"),
]
MEDIA_FIELDS = ["duration_ms", "media_key", "type", "url", "variants"]
USER_FIELDS = ["protected", "username"]
EXPANSIONS = [
    *("attachments.media_keys", "author_id", "referenced_tweets.id", "referenced_tweets.id.author_id"),
    "referenced_tweets.id.attachments.media_keys",
]

NOT_AUTHORIZED = "https://api.twitter.com/2/problems/not-authorized-for-resource"
# The code of a refusal of everything, for want of money.
UNPAID = "unpaid"


class XError(Exception):
    """X did not do it, or did not say so. ``code`` is a machine name.

    ``permanent``: another try would end the same way. ``in_doubt``: it may have been done all the same.
    ``retry_at``: when X wants to be asked again.
    """

    def __init__(
        self, code: str, *, permanent: bool = False, in_doubt: bool = False, retry_at: datetime | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.in_doubt = in_doubt
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendition of a video; ``bit_rate`` in bits a second, None for a playlist."""

    url: str
    content_type: str
    bit_rate: int | None


@dataclass(frozen=True, slots=True)
class XMedia:
    """A video, animated picture or photo at a post; ``duration`` in seconds, None where X says none."""

    key: str
    kind: str
    url: str
    duration: float | None
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class Author:
    id: int
    handle: str
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    id: int
    author_id: int
    text: str
    language: str
    posted_at: datetime
    conversation_id: int
    in_reply_to_user_id: int | None
    replied_to: int | None
    quoted: int | None
    is_repost: bool
    media_keys: tuple[str, ...]
    # Whom it names: id by name in lower case.
    mentioned: Mapping[str, int]
    # The same post before it was edited: each version has an id of its own.
    versions: tuple[int, ...]


@dataclass(slots=True)
class Page:
    """Posts, newest first, and what X sent along with them. ``problems`` are the posts that it would not show."""

    posts: list[Post] = field(default_factory=list)
    others: dict[int, Post] = field(default_factory=dict)
    authors: dict[int, Author] = field(default_factory=dict)
    media: dict[str, XMedia] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    next_token: str = ""

    def author_of(self, post: Post) -> Author:
        """Who wrote a post; without a name where X did not say it."""
        return self.authors.get(post.author_id, Author(post.author_id, ""))

    def add(self, other: Page) -> None:
        """Know what another page knows besides its posts."""
        self.others.update(other.others | {post.id: post for post in other.posts})
        self.authors.update(other.authors)
        self.media.update(other.media)
        self.problems.update(other.problems)


@dataclass(frozen=True, slots=True)
class Message:
    """A direct message, either way."""

    id: int
    sender_id: int
    text: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Keys:
    api_key: str
    api_secret: str
    access_token: str
    access_token_secret: str


class _Session(requests.Session):
    """Asks the host that the settings name, waits no longer than they allow, and goes where it is sent by nobody."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__()
        # Neither proxies nor passwords of the machine's user.
        self.trust_env = False
        self._host = host.rstrip("/")
        self._seconds = seconds
        adapter = _BoundedAdapter(seconds)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **options: Any) -> requests.Response:
        address = str(url)
        if not address.startswith(TWEEPY_HOST + "/"):
            raise ValueError(f"not an address of X's API: {address}")
        options.update(timeout=self._seconds, allow_redirects=False)
        response = super().request(method, self._host + address.removeprefix(TWEEPY_HOST), *args, **options)
        if not response.headers.get("x-rate-limit-reset", "0").isdigit():
            # Tweepy would fail on it, and nobody would learn that there were too many requests.
            del response.headers["x-rate-limit-reset"]
        return response


class _BoundedAdapter(HTTPAdapter):
    """Reads an answer to its end within the time and size allowed.

    The time-outs of requests are for each read alone: an answer that trickles would never end.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        super().__init__(max_retries=0)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        end = time.monotonic() + self._seconds
        options["stream"] = True
        response = super().send(request, *args, **options)
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := response.raw.read1(65536, decode_content=True):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise requests.ConnectionError("the answer is too long", request=request)
                if time.monotonic() > end:
                    raise requests.Timeout("the answer takes too long", request=request)
        except requests.RequestException:
            response.close()
            raise
        except Exception as error:  # urllib3 has a family of its own, and sockets another.
            response.close()
            raise requests.ConnectionError(str(error), request=request) from error
        response._content = b"".join(pieces)
        response.raw.release_conn()
        return response


class XClient:
    """One account's way to X. ``on_read`` is told how many posts, users or messages each answer held."""

    def __init__(
        self,
        keys: Keys,
        *,
        host: str = TWEEPY_HOST,
        seconds: float = 10.0,
        on_read: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._tweepy = tweepy.Client(
            consumer_key=keys.api_key,
            consumer_secret=keys.api_secret,
            access_token=keys.access_token,
            access_token_secret=keys.access_token_secret,
            return_type=dict,
        )
        self._tweepy.session = _Session(host, seconds)
        self._on_read = on_read

    def me(self) -> Author:
        """The account that this is."""
        answer = self._call(self._tweepy.get_me, user_fields=USER_FIELDS)
        self._on_read(1)
        return _parsed(_author, answer.get("data"))

    def mentions(self, of: int, *, since_id: int | None = None, since: datetime | None = None, token: str = "") -> Page:
        """A page of the posts that tag an account, newest first; ``token`` is the ``next_token`` of the page before."""
        bounds: dict[str, Any] = {"since_id": since_id} if since_id else {}
        if since and not since_id:
            bounds["start_time"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._posts(self._tweepy.get_users_mentions, of, token=token, **bounds)

    def posts(self, ids: Iterable[int]) -> Page:
        """At most 100 posts with their media. Those that X does not show are in ``problems``."""
        answer = self._call(
            self._tweepy.get_tweets,
            [str(post) for post in ids],
            tweet_fields=POST_FIELDS,
            media_fields=MEDIA_FIELDS,
            user_fields=USER_FIELDS,
            expansions=["attachments.media_keys", "author_id"],
        )
        return self._page(answer)

    def own_posts(self, me: int, *, since_id: int, token: str = "") -> Page:
        """A page of what this account posted after ``since_id``, newest first."""
        return self._posts(self._tweepy.get_users_tweets, me, token=token, since_id=since_id)

    def messages_with(self, participant: int) -> list[Message]:
        """The last direct messages between this account and another, at most 100, newest first."""
        answer = self._call(
            self._tweepy.get_direct_message_events,
            participant_id=participant,
            event_types="MessageCreate",
            dm_event_fields=["created_at", "event_type", "sender_id", "text"],
            max_results=PAGE_SIZE,
        )
        messages = [_parsed(_message, item) for item in _rows(answer, "data")]
        self._on_read(len(messages))
        return messages

    def reply(self, text: str, *, to: int, without: Iterable[int] = ()) -> int:
        """Post a reply; returns its id. Those in ``without`` are not named in it, as X else does with everybody."""
        excluded = [str(user) for user in without] or None
        answer = self._call(
            self._tweepy.create_tweet,
            text=text,
            in_reply_to_tweet_id=str(to),
            exclude_reply_user_ids=excluded,
        )
        return _parsed(lambda data: _id(data["id"]), answer.get("data"), in_doubt=True)

    def direct_message(self, text: str, *, to: int) -> int:
        """Send a direct message; returns the id of its event. Raises XError ``closed`` where they take none from us."""
        try:
            answer = self._call(self._tweepy.create_direct_message, participant_id=str(to), text=text)
        except XError as error:
            if error.code == "status_403":
                raise XError("closed", permanent=True) from error
            raise
        return _parsed(lambda data: _id(data["dm_event_id"]), answer.get("data"), in_doubt=True)

    def _posts(self, ask: Callable[..., Any], account: int, *, token: str, **bounds: Any) -> Page:
        if token:
            bounds["pagination_token"] = token
        answer = self._call(
            ask,
            str(account),
            max_results=PAGE_SIZE,
            tweet_fields=POST_FIELDS,
            media_fields=MEDIA_FIELDS,
            user_fields=USER_FIELDS,
            expansions=EXPANSIONS,
            **bounds,
        )
        return self._page(answer)

    def _page(self, answer: dict[str, Any]) -> Page:
        includes = answer.get("includes")
        includes = includes if isinstance(includes, dict) else {}
        page = Page(
            posts=_readable(_post, _rows(answer, "data")),
            others={post.id: post for post in _readable(_post, _rows(includes, "tweets"))},
            authors={author.id: author for author in _readable(_author, _rows(includes, "users"))},
            media={media.key: media for media in _readable(_media, _rows(includes, "media"))},
            problems=dict(_readable(_problem, _rows(answer, "errors"))),
        )
        meta = answer.get("meta")
        page.next_token = str(meta.get("next_token") or "") if isinstance(meta, dict) else ""
        self._on_read(len(page.posts) + len(page.others))
        return page

    def _call(self, ask: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
        """Raises XError for everything but an answer that is an object in JSON."""
        options.setdefault("user_auth", True)
        try:
            answer = ask(*args, **options)
        except tweepy.TooManyRequests as error:
            raise XError("too_many_requests", retry_at=_reset_of(error.response)) from error
        except tweepy.TwitterServerError as error:
            raise XError(f"status_{error.response.status_code}", in_doubt=True) from error
        except tweepy.Unauthorized as error:
            raise XError("unauthorized", retry_at=timezone.now() + WINDOW) from error
        except tweepy.HTTPException as error:
            if _is_unpaid(error.response):
                raise XError(UNPAID, retry_at=timezone.now() + UNPAID_WAIT) from error
            raise XError(_refusal_of(error), permanent=True) from error
        except requests.ConnectTimeout as error:
            raise XError("unreachable") from error
        except requests.Timeout as error:
            raise XError("timed_out", in_doubt=True) from error
        except requests.ConnectionError as error:
            raise XError("unreachable", in_doubt=True) from error
        except (requests.RequestException, ValueError, AttributeError, TypeError, KeyError) as error:
            # An answer in another shape than X ever documented: tweepy reads it without looking.
            raise XError("malformed", in_doubt=True) from error
        if not isinstance(answer, dict):
            raise XError("malformed", in_doubt=True)
        return answer


def _is_unpaid(response: requests.Response) -> bool:
    """Whether X does nothing at all for us until somebody buys credits or raises the spending limit.

    What was asked is not at fault: the same goes through afterwards.
    """
    if response.status_code == 403:
        return any(mark in response.text.lower() for mark in ("spendcapreached", "spend cap"))
    return response.status_code == 402


def _refusal_of(error: tweepy.HTTPException) -> str:
    texts = " ".join(str(text) for text in error.api_messages).lower()
    if "duplicate content" in texts:
        return "duplicate"
    return f"status_{error.response.status_code}"


def _reset_of(response: requests.Response) -> datetime:
    """When what X refused for being too much is allowed again: the latest of the windows that are used up."""
    seconds = [
        response.headers.get(f"{limit}-reset", "")
        for limit in ("x-rate-limit", "x-user-limit-24hour", "x-app-limit-24hour")
        if response.headers.get(f"{limit}-remaining", "0") == "0"
    ]
    now = timezone.now()
    resets = [datetime.fromtimestamp(int(second), UTC) for second in seconds if second.isdigit() and len(second) < 12]
    # A clock that is wrong, ours or theirs, must not end it for ever, nor make it ask without a pause.
    return min(max([now + timedelta(seconds=1), *resets]), now + timedelta(days=1)) if resets else now + WINDOW


def _rows(answer: Mapping[str, Any], name: str) -> list[Any]:
    rows = answer.get(name, [])
    if not isinstance(rows, list):
        raise XError("malformed", in_doubt=True)
    return rows


def _parsed(parse: Callable[[Any], T], row: Any, *, in_doubt: bool = False) -> T:
    try:
        return parse(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise XError("malformed", in_doubt=in_doubt) from error


def _readable(parse: Callable[[Any], T], rows: Iterable[Any]) -> list[T]:
    """The rows that can be read: one broken post must not keep all others from being answered."""
    read: list[T] = []
    for row in rows:
        try:
            read.append(parse(row))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning("X sent a row that can't be read: %s", type(error).__name__)
    return read


def _post(row: Any) -> Post:
    references = {str(other["type"]): _id(other["id"]) for other in row.get("referenced_tweets") or []}
    named = (row.get("entities") or {}).get("mentions") or []
    answered = row.get("in_reply_to_user_id")
    return Post(
        id=_id(row["id"]),
        author_id=_id(row["author_id"]),
        text=_text(row["text"]),
        language=_text(row.get("lang")),
        posted_at=_moment(row["created_at"]),
        conversation_id=_id(row.get("conversation_id") or row["id"]),
        in_reply_to_user_id=_id(answered) if answered else None,
        replied_to=references.get("replied_to"),
        quoted=references.get("quoted"),
        is_repost="retweeted" in references,
        media_keys=tuple(_text(key) for key in (row.get("attachments") or {}).get("media_keys") or []),
        mentioned={_text(one["username"]).lower(): _id(one["id"]) for one in named if one.get("id")},
        versions=tuple(_id(version) for version in row.get("edit_history_tweet_ids") or []),
    )


def _author(row: Any) -> Author:
    return Author(_id(row["id"]), _text(row["username"]), bool(row.get("protected")))


def _media(row: Any) -> XMedia:
    milliseconds = row.get("duration_ms")
    return XMedia(
        key=_text(row["media_key"]),
        kind=_text(row["type"]),
        url=_text(row.get("url")),
        duration=float(milliseconds) / 1000 if milliseconds is not None else None,
        variants=tuple(_variant(variant) for variant in row.get("variants") or []),
    )


def _variant(row: Any) -> Variant:
    rate = row.get("bit_rate")
    return Variant(_text(row["url"]), _text(row.get("content_type")), int(rate) if rate is not None else None)


def _problem(row: Any) -> tuple[int, str]:
    """A post that X does not show, and whether it is ``gone`` or ``private``."""
    post = _id(row.get("resource_id") or row["value"])
    return post, "private" if row.get("type") == NOT_AUTHORIZED else "gone"


def _message(row: Any) -> Message:
    return Message(_id(row["id"]), _id(row["sender_id"]), _text(row.get("text")), _moment(row["created_at"]))


def _id(value: Any) -> int:
    """X's ids are of 64 bits; what is larger no database keeps."""
    number = int(value)
    if not 0 < number < 2**63:
        raise ValueError("not an id")
    return number


def _text(value: Any) -> str:
    """Without the one character that PostgreSQL does not keep."""
    return str(value or "").replace("\x00", "")


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
