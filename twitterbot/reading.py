"""What a mention asks for: which video or photo, in which language, or which word of command. No HTTP, no database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.errors import Code
from twitterbot.models import Mention

if TYPE_CHECKING:
    from twitterbot.client import Author, Page, Post, XMedia

# Why nothing is examined, beside the codes of accounts.errors.
NO_MEDIA = "no_media"
GONE = "gone"
PRIVATE = "private"

# Why nothing is answered.
OWN_POST = "own_post"
REPOST = "repost"
NOT_ADDRESSED = "not_addressed"

VIDEO_KINDS = {"video", "animated_gif"}
MAX_URL_LENGTH = 900
# What people write to a bot to be left alone, and to be answered again, in the languages of the site.
STOP_WORDS = {
    *("stop", "unsubscribe", "opt out", "optout"),
    *("थांबा", "बंद करा", "रुको", "रोको", "बंद करो", "থামো", "থামুন", "বন্ধ করুন", "നിർത്തൂ", "നിർത്തുക", "ఆపు", "ఆపండి"),
}
START_WORDS = {
    *("start", "subscribe"),
    *("सुरू करा", "शुरू करो", "शुरू करें", "শুরু করো", "শুরু করুন", "തുടങ്ങൂ", "തുടങ്ങുക", "ప్రారంభించు", "ప్రారంభించండి"),
}
LINK_WORDS = {"link", "connect", "जोडा", "जोड़ो", "जोड़ें", "যুক্ত করুন", "ബന്ധിപ്പിക്കുക", "జోడించు", "జోడించండి"}

_name = re.compile(r"@(\w{1,50})")
_leading_names = re.compile(r"^\s*(?:@\w{1,50}\s+)*(?:@\w{1,50}\s*$)?")
_link = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What there is to examine: an ``url``, or a ``problem``.

    ``photos``: among how many one was taken. ``others``: besides how many videos and photos a video was taken.
    """

    url: str = ""
    problem: str = ""
    photos: int = 1
    others: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A mention, read. ``ignored`` says why it gets no answer, if it gets none."""

    post: Post
    author: Author
    language: str
    command: str = ""
    ignored: str = ""
    media_url: str = ""
    problem: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    bystanders: list[int] = field(default_factory=list)


def read(post: Post, page: Page, *, me: int) -> Request:
    """What a post that tags this account asks for, seen with what X sent along with it."""
    author = page.author_of(post)
    parent = page.others.get(post.replied_to) if post.replied_to else None
    command = command_in(post.text)
    if author.id == me:
        return Request(post, author, "", ignored=OWN_POST)
    if post.is_repost:
        return Request(post, author, "", ignored=REPOST)
    if not (is_command_to(command, post, parent, me=me) if command else is_addressed(post, parent, me=me)):
        return Request(post, author, "", ignored=NOT_ADDRESSED)
    source, chosen = (post, Chosen()) if command else find_media(post, page)
    return Request(
        post,
        author,
        language_of(post, source),
        command=command,
        media_url=chosen.url,
        problem=chosen.problem,
        claims=claims_about(source, page, chosen) if chosen.url else {},
        bystanders=sorted({*post.mentioned.values()} - {me, author.id}),
    )


def command_in(text: str) -> str:
    """The word of command that a post consists of beside names and links; empty if it says anything else."""
    # Vowel signs of Indian scripts are no letters to \w; the danda between their blocks is a full stop.
    said = re.sub(r"[^\w\s\u0900-\u0963\u0966-\u0d7f\u200c\u200d]", " ", _name.sub(" ", _link.sub(" ", text)))
    said = " ".join(said.casefold().split())
    for words, command in (
        (STOP_WORDS, Mention.Command.STOP),
        (START_WORDS, Mention.Command.START),
        (LINK_WORDS, Mention.Command.LINK),
    ):
        if said in words:
            return str(command)
    return ""


def is_addressed(post: Post, parent: Post | None, *, me: int) -> bool:
    """Whether its author tagged this account, and not X for them.

    X puts the names of everybody in a conversation in front of each reply. A reply to an answer of ours is meant for
    us only if it brings something new; one to somebody else who had tagged us is meant for us only if it names us
    once more in its own words. Anything else would answer thanks with a message, and other bots for ever.
    """
    if post.in_reply_to_user_id == me:
        return bool(post.media_keys or post.quoted)
    if parent is None or me not in parent.mentioned.values():
        return True
    own_words = _leading_names.sub("", post.text)
    return me in {post.mentioned.get(name.lower()) for name in _name.findall(own_words)}


def is_command_to(command: str, post: Post, parent: Post | None, *, me: int) -> bool:
    """Whether a word of command is for this account, and not for somebody else in a conversation that it is named in.

    There "Link?" asks another for an address, and X has put our name in front of it. Only "stop" is always heard:
    nobody shall have to say it twice.
    """
    return command == Mention.Command.STOP or post.in_reply_to_user_id == me or is_addressed(post, parent, me=me)


def find_media(post: Post, page: Page) -> tuple[Post, Chosen]:
    """The first of the mention, the post that it quotes and the post that it replies to which has a video or photo.

    Without any, the mention itself and why there is none.
    """
    problem = NO_MEDIA
    for related in (post.id, post.quoted, post.replied_to):
        if related is None:
            continue
        if related in page.problems:
            problem = page.problems[related]
            continue
        found = post if related == post.id else page.others.get(related)
        if found is None:
            problem = GONE
            continue
        if found.author_id != post.author_id and page.author_of(found).protected:
            # Shown to us, as a follower, and not to everybody: the answer would be.
            problem = PRIVATE
            continue
        if media := [page.media[key] for key in found.media_keys if key in page.media]:
            return found, choose_media(media)
    return post, Chosen(problem=problem)


def lacks_media(post: Post, page: Page) -> bool:
    """Whether a post has media that X did not send along."""
    return any(key not in page.media for key in post.media_keys)


def choose_media(media: Iterable[XMedia]) -> Chosen:
    """The video if there is one, else the first photo; of a video the best rendition within the limits."""
    rest = list(media)
    videos = [one for one in rest if one.kind in VIDEO_KINDS]
    if videos:
        return replace(best_variant(videos[0]), others=len(rest) - 1)
    photos = [one for one in rest if one.kind == "photo" and is_from_x(one.url)]
    if not photos:
        return Chosen(problem=NO_MEDIA)
    # As it was posted, not as it is shown.
    return Chosen(url=f"{photos[0].url.partition('?')[0]}?name=orig", photos=len(photos))


def best_variant(video: XMedia) -> Chosen:
    """The rendition with the most bits a second that is within the limits on what comes in."""
    # A fraction over is not over.
    if video.duration is not None and int(video.duration) > settings.SENTINEL_MAX_DURATION_SECONDS:
        return Chosen(problem=str(Code.VIDEO_TOO_LONG))
    files = [one for one in video.variants if one.content_type == "video/mp4" and is_from_x(one.url)]
    if not files:
        return Chosen(problem=NO_MEDIA)
    bits = settings.SENTINEL_MAX_UPLOAD_BYTES * 8
    small = [one for one in files if (one.bit_rate or 0) * (video.duration or 0.0) <= bits]
    if not small:
        return Chosen(problem=str(Code.FILE_TOO_LARGE))
    return Chosen(url=max(small, key=lambda one: one.bit_rate or 0).url)


def is_from_x(url: str) -> bool:
    """Whether an address is on one of the servers on which X keeps media, and no longer than any of theirs."""
    return len(url) <= MAX_URL_LENGTH and _origin_of(url) in {
        origin.lower().rstrip("/") for origin in settings.TWITTER_MEDIA_ORIGINS
    }


def language_of(post: Post, source: Post) -> str:
    """The language of the mention, or of the post with the media if the mention says nothing; else English."""
    known = dict(settings.LANGUAGES)
    return next((post.language for post in (post, source) if post.language in known), settings.LANGUAGE_CODE)


def claims_about(source: Post, page: Page, chosen: Chosen) -> dict[str, Any]:
    """What X says of the post with the media, as :func:`media_analysis.services.submit_link` keeps it.

    With ``photos`` or ``videos_and_photos``, how many of them it has, where not all are examined.
    """
    handle = page.author_of(source).handle
    claims: dict[str, Any] = {
        "post_url": post_url(source.id, handle),
        "author": f"@{handle}" if handle else "",
        "posted_at": source.posted_at.isoformat(),
        "title": source.text[:500],
    }
    if chosen.photos > 1:
        claims["photos"] = chosen.photos
    if chosen.others:
        claims["videos_and_photos"] = chosen.others + 1
    return claims


def post_url(post: int, handle: str = "") -> str:
    return f"https://x.com/{handle or 'i'}/status/{post}"


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
