"""What the bot makes of the posts that tag it, and what it answers, with an X that works."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from accounts import limits
from accounts.errors import Code
from accounts.models import User
from media_analysis import links, services
from media_analysis.models import Analysis, Media, ResultCard, Submission
from media_analysis.services import delete_media, fail_analysis
from tests.conftest import make_user
from tests.twitterbot.conftest import SITE, finish, finish_all, running, statuses
from tests.twitterbot.fake_x import FakeX
from twitterbot.bot import Bot
from twitterbot.length import MAX_LENGTH, weighted_length
from twitterbot.models import BotState, Mention, MonthlyUse, Reply, XAccount

pytestmark = pytest.mark.django_db


def only() -> Mention:
    return Mention.objects.select_related("account__user", "analysis__media__link").get()


def test_a_reply_to_a_video_is_answered_in_public_and_with_details_in_private(x: FakeX, bot: Bot) -> None:
    video = x.video_post(by="poster")
    tag = x.mention(by="asha", text="@poster @sentinelcheck is this real?", replies_to=video)
    assert bot.round()
    mention = only()
    assert mention.status == Mention.Status.EXAMINING
    analysis = mention.analysis
    assert analysis is not None
    assert analysis.media.link.url.endswith("/2176000.mp4?tag=16")
    assert analysis.media.link.claims["post_url"] == f"https://x.com/poster/status/{video}"
    assert analysis.media.link.claims["author"] == "@poster"
    assert Submission.objects.get().source == Submission.Source.BOT
    finish(analysis)
    bot.round()
    bot.round()
    [reply], [message] = x.replies, x.messages
    card = ResultCard.objects.get(analysis=analysis)
    assert reply["to"] == tag
    assert reply["text"].startswith(
        "Signs of manipulation found. Confidence 91.0 %. Called fake in these stretches: 0.2–0.6 s."
    )
    assert f" {SITE}/" in reply["text"]
    assert reply["text"].endswith(card.public_id) or card.public_id in reply["text"]
    # Whose video it is did not ask for anything.
    assert reply["without"] == [int(x.posts[video]["author_id"])]
    assert message["to"] == mention.account.twitter_id
    assert f"https://x.com/poster/status/{video}" in message["text"]
    assert "Frames called fake: 1. Frames called real: 0." in message["text"]
    assert "9 of 10 examinations are left." in message["text"]
    assert only().status == Mention.Status.ANSWERED


def test_a_quoted_video_an_own_one_and_a_photo_are_examined_too(x: FakeX, bot: Bot) -> None:
    quoted = x.video_post(by="poster")
    x.mention(by="asha", quotes=quoted)
    x.mention(by="ravi", media=[x.add_video(rates=(832000,))])
    x.mention(by="meera", replies_to=x.mention(by="snapper", text="look", media=[x.add_photo(), x.add_photo()]))
    x.mention(by="tanvi", media=[x.add_gif()])
    bot.round()
    urls = list(Mention.objects.order_by("tweet_id").values_list("media_url", flat=True))
    assert [url.partition("?")[0].rpartition("/")[2] for url in urls] == [
        "2176000.mp4",
        "832000.mp4",
        f"{next(key for key in x.media if key.startswith('3_'))}.jpg",
        f"{next(key for key in x.media if key.startswith('16_'))}.mp4",
    ]
    assert urls[2].endswith("?name=orig")
    finish_all(timestamps=[])
    bot.round()
    assert len(x.replies) == len(x.messages) == 4
    # In public too: the verdict stands under all of them.
    for sent in (x.replies[2], x.messages[2]):
        assert "The post has 2 photos: only the first was examined." in sent["text"]
    assert sum("The post has" in reply["text"] for reply in x.replies) == 1


def test_of_a_video_among_others_the_public_answer_says_that_it_is_not_about_them(x: FakeX, bot: Bot) -> None:
    x.mention(media=[x.add_photo(), x.add_video(), x.add_video()])
    bot.round()
    finish_all(outcome="REAL", confidence=91.0, timestamps=[])
    bot.round()
    [reply], [message] = x.replies, x.messages
    for sent in (reply, message):
        assert "The post has 3 videos and photos: only the first video was examined." in sent["text"]
    assert weighted_length(reply["text"]) <= MAX_LENGTH
    assert "which can be wrong" in reply["text"]


def test_no_certainty_is_told_that_no_detector_has(x: FakeX, bot: Bot) -> None:
    x.mention(media=[x.add_video()])
    bot.round()
    finish_all(confidence=99.98)
    bot.round()
    for sent in (*x.replies, *x.messages):
        assert "Confidence more than 99.9 %." in sent["text"]


def test_media_that_x_leaves_out_is_asked_for_all_posts_of_a_page_at_once(x: FakeX, bot: Bot) -> None:
    x.sends_media_of_others = False
    for name in ("asha", "ravi"):
        x.mention(by=name, replies_to=x.video_post())
    bot.round()
    assert statuses() == ["examining", "examining"]
    assert (x.count("mentions"), x.count("tweets")) == (1, 1)


@pytest.mark.parametrize(
    ("make", "problem", "says"),
    [
        (lambda x: x.mention(), "no_media", "There is no video or photo to examine"),
        (lambda x: x.mention(replies_to=x.mention(by="p", text="words")), "no_media", "There is no video or photo"),
        (lambda x: x.mention(media=[x.add_video(seconds=61.0)]), Code.VIDEO_TOO_LONG, "longer than 60 seconds"),
        (lambda x: x.mention(media=[x.add_video(rates=(99000000,))]), Code.FILE_TOO_LARGE, "larger than 100 MB"),
    ],
)
def test_what_cannot_be_examined_is_told_in_private_only(
    x: FakeX, bot: Bot, make: Any, problem: str, says: str
) -> None:
    make(x)
    bot.round()
    mention = Mention.objects.get()
    assert (mention.status, mention.problem) == (Mention.Status.REFUSED, problem)
    [message] = x.messages
    assert says in message["text"]
    assert x.replies == []
    # Nobody who was only refused has an account here.
    assert User.objects.count() == 0


@pytest.mark.parametrize(("hide", "says"), [("delete_post", "is gone"), ("protect", "is not public")])
def test_a_post_that_is_gone_or_private_is_told_in_private(x: FakeX, bot: Bot, hide: str, says: str) -> None:
    video = x.video_post()
    x.mention(replies_to=video)
    getattr(x, hide)(video)
    bot.round()
    [message] = x.messages
    assert says in message["text"]
    assert x.replies == []


def test_what_only_its_author_s_followers_see_is_not_examined_for_others(x: FakeX, bot: Bot) -> None:
    # The bot's account may be one of those followers.
    x.add_user("meera", protected=True)
    x.mention(by="asha", replies_to=x.video_post(by="meera"))
    x.mention(by="meera", media=[x.add_video()])
    bot.round()
    assert list(Mention.objects.order_by("tweet_id").values_list("problem", flat=True)) == ["private", ""]
    assert "is not public" in x.messages[0]["text"]


def test_the_best_rendition_within_the_limits_is_taken(x: FakeX, bot: Bot, settings: Any) -> None:
    # Of 12 seconds: 432,000, 1,248,000 and 3,264,000 bytes.
    settings.SENTINEL_MAX_UPLOAD_BYTES = 2_000_000
    x.mention(media=[x.add_video(seconds=12.0)])
    bot.round()
    assert "832000" in only().media_url


def test_media_on_other_servers_is_left_alone(x: FakeX, bot: Bot) -> None:
    key = x.add_video()
    for variant in x.media[key]["variants"]:
        variant["url"] = variant["url"].replace("video.twimg.com", "video.twimg.com.example.org")
    x.mention(media=[key])
    bot.round()
    assert only().problem == "no_media"
    assert Media.objects.count() == 0


def test_the_daily_limit_is_told_in_private(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.SENTINEL_DAILY_LIMIT = 1
    for _ in range(2):
        x.mention(media=[x.add_video()])
    bot.round()
    assert statuses() == ["examining", "refused"]
    [message] = x.messages
    assert "You have used all 1 classifications of today." in message["text"]
    assert Media.objects.count() == 1


def test_a_mention_that_comes_again_is_answered_once(x: FakeX, bot: Bot) -> None:
    x.mention(media=[x.add_video()])
    bot.round()
    finish_all()
    BotState.objects.update(since_id=None)
    bot.round()
    BotState.objects.update(since_id=None)
    bot.round()
    assert (len(x.replies), len(x.messages), Media.objects.count()) == (1, 1, 1)


@pytest.mark.slow
@pytest.mark.long
def test_two_hundred_mentions_at_once_are_all_answered(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_HOURLY_ANSWERS = 0
    video = x.video_post()
    for number in range(200):
        x.mention(by=f"user{number}", text="@poster @sentinelcheck real?", replies_to=video)
    bot.round()
    assert Mention.objects.filter(status=Mention.Status.EXAMINING).count() == 200
    # Two pages.
    assert x.count("mentions") == 2
    finish_all()
    bot.round()
    bot.round()
    assert sorted(reply["to"] for reply in x.replies) == list(
        Mention.objects.order_by("tweet_id").values_list("tweet_id", flat=True)
    )
    assert sorted(message["to"] for message in x.messages) == sorted(set(x.users) - {900, 1001})
    assert set(statuses()) == {"answered"}


def test_failures_are_told_in_private_with_their_reason(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()])
    x.mention(by="ravi", media=[x.add_video()])
    bot.round()
    first, second = [mention.analysis for mention in Mention.objects.order_by("tweet_id")]
    assert first is not None
    assert second is not None
    running(first)
    fail_analysis(first, Code.UNREADABLE_MEDIA)
    Analysis.objects.filter(pk=second.pk).update(claim_token="a claim")
    second.refresh_from_db()
    links.fail_fetch(second, Code.LINK_UNREACHABLE, "not_found")
    bot.round()
    assert statuses() == ["refused", "refused"]
    assert "It may be damaged or incomplete." in x.messages[0]["text"]
    assert "is gone" in x.messages[1]["text"]
    assert "10 of 10 examinations are left." in x.messages[1]["text"]
    assert x.replies == []


def test_a_file_that_was_deleted_meanwhile_gets_no_answer(x: FakeX, bot: Bot) -> None:
    for _ in range(2):
        x.mention(media=[x.add_video()])
    bot.round()
    first, second = Media.objects.order_by("id")
    delete_media(first)
    Media.objects.filter(pk=second.pk).update(deleted_at="2026-01-01T00:00:00Z")
    bot.round()
    assert statuses() == ["ignored", "ignored"]
    assert (x.replies, x.messages) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "reason", "says"),
    [
        ("REAL", None, "No sign of manipulation found. Confidence 91.0 %. That is no proof that it is genuine."),
        ("INCONCLUSIVE", "weak_evidence", "Can't tell. The signs are too weak to say either way."),
        ("NOT_ASSESSABLE", "no_face", "Could not be examined, because no human face was found"),
    ],
)
def test_the_words_never_say_more_than_was_found(x: FakeX, bot: Bot, outcome: str, reason: str, says: str) -> None:
    x.mention(media=[x.add_video()])
    bot.round()
    confidence = 91.0 if outcome == "REAL" else None
    finish_all(outcome=outcome, reason=reason, confidence=confidence, timestamps=[])
    bot.round()
    [reply] = x.replies
    assert reply["text"].startswith(says)
    assert "%" not in reply["text"] or outcome == "REAL"
    assert "Signs of manipulation found" not in x.messages[0]["text"]
    # Whoever shows only the message to others shows that too.
    assert "Examined by a machine, which can be wrong." in x.messages[0]["text"]
    assert ("That is no proof that it is genuine." in x.messages[0]["text"]) is (outcome == "REAL")


@pytest.mark.parametrize(
    ("languages", "language", "word"),
    [
        (("hi", "en"), "hi", "हेरफेर"),
        (("und", "bn"), "bn", "কারসাজি"),
        (("fr", "fr"), "en", "manipulation"),
        (("te", "und"), "te", "తారుమారు"),
    ],
)
def test_answers_are_in_the_language_of_the_post(
    x: FakeX, bot: Bot, languages: tuple[str, str], language: str, word: str
) -> None:
    post = x.mention(by="poster", text="look", media=[x.add_video()], lang=languages[1])
    x.mention(by="asha", text="@poster @sentinelcheck", replies_to=post, lang=languages[0])
    bot.round()
    assert only().language == language
    finish_all(timestamps=[[index + 0.1, index + 0.9] for index in range(50)])
    bot.round()
    [reply] = x.replies
    assert word in reply["text"]
    assert 240 < weighted_length(reply["text"]) <= MAX_LENGTH
    assert word in x.messages[0]["text"]


def test_messages_are_in_the_language_that_somebody_chose_for_their_account(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()], lang="bn")
    owner = make_user("asha", language="hi")
    XAccount.objects.create(twitter_id=int(x.posts[max(x.posts)]["author_id"]), user=owner)
    bot.round()
    finish_all()
    bot.round()
    assert "কারসাজি" in x.replies[0]["text"]
    assert "हेरफेर" in x.messages[0]["text"]
    assert Media.objects.get().owner == owner


def test_without_an_address_of_the_site_there_is_no_link_and_nothing_is_made_public(
    x: FakeX, bot: Bot, settings: Any
) -> None:
    settings.SENTINEL_URL = ""
    x.mention(media=[x.add_video()])
    bot.round()
    finish_all()
    bot.round()
    assert "http" not in x.replies[0]["text"]
    assert ResultCard.objects.count() == 0


def test_an_account_that_the_bot_made_lets_nobody_in(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    user = User.objects.get()
    assert not user.has_usable_password()
    assert user.email.endswith("@x.invalid")
    assert limits.used(user) == 1


def test_the_bot_answers_neither_itself_nor_reposts_nor_thanks(x: FakeX, bot: Bot) -> None:
    tag = x.mention(by="asha", media=[x.add_video()])
    bot.round()
    finish_all()
    bot.round()
    own = x.replies[0]["id"]
    x.mention(by="asha", text="@sentinelcheck thank you!", replies_to=own)
    x.mention(by="ravi", text="@asha @sentinelcheck wow", replies_to=tag)
    x.mention(by="meera", text="RT @asha: @sentinelcheck is this real?", reposts=tag)
    x.add_post("We are @sentinelcheck", by=900, media=[x.add_video()])
    bot.round()
    assert (len(x.replies), len(x.messages)) == (1, 1)
    assert statuses() == ["answered", "ignored", "ignored", "ignored"]


def test_something_new_under_an_answer_and_a_tag_in_own_words_are_answered(x: FakeX, bot: Bot) -> None:
    tag = x.mention(by="asha", media=[x.add_video()])
    bot.round()
    finish_all()
    bot.round()
    x.mention(by="asha", text="@sentinelcheck and this?", replies_to=x.replies[0]["id"], media=[x.add_video()])
    x.mention(by="ravi", text="@asha @sentinelcheck so @sentinelcheck is it?", replies_to=tag)
    bot.round()
    assert statuses() == ["answered", "examining", "examining"]


def test_two_bots_that_answer_each_other_come_to_an_end(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_PER_CONVERSATION = 2
    at = x.mention(by="otherbot", media=[x.add_video()])
    for _ in range(5):
        bot.round()
        finish_all()
        bot.round()
        answers = [row["id"] for row in x.replies if row["to"] == at]
        if answers:
            at = x.mention(by="otherbot", text="@sentinelcheck no", replies_to=answers[0], media=[x.add_video()])
    assert len(x.replies) == 2


def test_so_many_an_hour_and_no_more(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_HOURLY_PER_AUTHOR = 2
    for _ in range(4):
        x.mention(by="asha")
    x.mention(by="ravi")
    bot.round()
    assert statuses() == ["refused", "refused", "ignored", "ignored", "refused"]
    assert len(x.messages) == 3


def test_the_limit_on_all_answers_an_hour_makes_the_rest_wait(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_HOURLY_ANSWERS = 2
    for name in ("asha", "ravi", "meera"):
        x.mention(by=name)
    bot.round()
    assert len(x.messages) == 2
    Reply.objects.filter(status=Reply.Status.SENT).update(sent_at="2026-01-01T00:00:00Z")
    bot.round()
    assert len(x.messages) == 3


def test_stop_is_heard_until_start(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    x.mention(by="asha", text="@sentinelcheck STOP!")
    bot.round()
    finish_all()
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    assert (len(x.replies), len(x.messages)) == (0, 1)
    assert "You get no more answers from me." in x.messages[0]["text"]
    x.mention(by="asha", text="@sentinelcheck start")
    x.mention(by="asha", text="@sentinelcheck hello")
    bot.round()
    assert [message["text"].splitlines()[0][:30] for message in x.messages[1:]] == [
        "You get answers from me again.",
        "There is no video or photo to ",
    ]
    assert statuses() == ["ignored", "answered", "ignored", "answered", "refused"]


def test_words_of_command_to_somebody_else_are_not_obeyed_but_stop(x: FakeX, bot: Bot) -> None:
    tag = x.mention(by="asha", replies_to=x.video_post())
    x.mention(by="ravi", text="@asha @sentinelcheck Link?", replies_to=tag)
    x.mention(by="meera", text="@asha @sentinelcheck stop", replies_to=tag)
    x.mention(by="meera", text="@asha @sentinelcheck start!", replies_to=tag)
    x.mention(by="tanvi", text="@poster @sentinelcheck link", replies_to=x.video_post())
    bot.round()
    # A word that is tagged on purpose is heard anywhere.
    assert statuses() == ["examining", "ignored", "answered", "ignored", "answered"]
    assert XAccount.objects.get(handle="meera").opted_out_at is not None
    assert [message["text"].split()[1] for message in x.messages] == ["get", "code:"]


def test_the_word_stop_in_other_languages_and_within_a_sentence(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", text="@sentinelcheck रुको।")
    x.mention(by="ravi", text="@sentinelcheck stop lying")
    bot.round()
    assert [bool(account.opted_out_at) for account in XAccount.objects.order_by("id")] == [True, False]


def test_blocked_accounts_hear_nothing(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha")
    x.mention(by="asha", text="@sentinelcheck link")
    XAccount.objects.create(twitter_id=1001, blocked=True)
    bot.round()
    assert statuses() == ["ignored", "ignored"]
    assert (x.replies, x.messages) == ([], [])


def test_closed_accounts_are_not_answered(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()])
    bot.round()
    User.objects.update(is_active=False)
    finish_all()
    bot.round()
    assert (x.replies, x.messages) == ([], [])


def test_the_first_start_leaves_old_mentions_alone_and_later_ones_catch_up(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", age=2 * 3600)
    x.mention(by="ravi", age=60)
    bot.round()
    assert list(Mention.objects.values_list("account__handle", flat=True)) == ["ravi"]
    BotState.objects.update(started_at="2027-01-01T00:00:00Z")
    x.mention(by="meera", age=24 * 3600)
    bot.round()
    assert Mention.objects.count() == 2


def test_a_paused_bot_does_nothing_and_goes_on_where_it_was(x: FakeX, bot: Bot) -> None:
    bot.round()
    BotState.objects.update(paused=True)
    x.mention()
    asked = len(x.requests)
    bot.round()
    assert len(x.requests) == asked
    BotState.objects.update(paused=False)
    bot.round()
    assert len(x.messages) == 1


def test_what_x_bills_is_counted_and_kept_within_the_limits_of_a_month(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_MONTHLY_POSTS = 1
    settings.TWITTER_MONTHLY_READS = 3
    x.mention(by="asha", replies_to=x.video_post())
    x.mention(by="ravi")
    x.mention(by="meera")
    bot.round()
    use = MonthlyUse.objects.get()
    assert (use.reads, use.posts, use.requests) == (4, 1, 2)
    assert len(x.messages) == 1
    assert Reply.objects.get(status=Reply.Status.WAITING).error == "no_posts_left"
    assert not bot.round()
    assert x.count("mentions") == 1
    assert BotState.objects.get().last_error == "no_reads_left"


def test_a_trial_run_says_what_it_would_do_and_does_nothing(x: FakeX, bot: Bot) -> None:
    x.mention(by="asha", media=[x.add_video()])
    x.mention(by="ravi", lang="hi")
    x.mention(by="meera", text="@sentinelcheck stop")
    x.add_post("@sentinelcheck", by=900)
    lines = bot.preview()
    assert [line.partition(" by ")[2].replace("\n", "") for line in lines][1:3] == [
        "@meera: the word stop",
        "@ravi: refused (no_media), by direct message in hi",
    ]
    assert lines[3].endswith("examined, answered in en")
    assert lines[0].endswith("not answered (own_post)")
    assert (Mention.objects.count(), XAccount.objects.count(), User.objects.count()) == (0, 0, 0)
    assert x.count("reply") == x.count("dm") == 0


def test_an_edited_post_is_the_same_mention(x: FakeX, bot: Bot) -> None:
    first = x.mention()
    bot.round()
    second = x.mention(text="@sentinelcheck is this really real?")
    x.posts[second]["edit_history_tweet_ids"] = [str(first), str(second)]
    bot.round()
    assert len(x.messages) == 1


def test_what_a_killed_bot_began_is_done_again_later(x: FakeX, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "WRITTEN_DOWN_WITHIN_SECONDS", 0.0)
    x.mention(media=[x.add_video()])
    bot.round()
    # Where it stood when it was killed, where transactions mean nothing: everything but the last row.
    Analysis.objects.all().delete()
    Mention.objects.update(status=Mention.Status.NEW, analysis=None)
    bot.round()
    assert (only().status, x.messages) == (Mention.Status.NEW, [])
    Media.objects.update(created_at=timezone.now() - 2 * services.UNDER_WAY)
    bot.round()
    assert only().status == Mention.Status.EXAMINING
    finish_all()
    bot.round()
    user = only().account.user
    assert user is not None
    assert (len(x.replies), len(x.messages), Media.objects.count(), limits.used(user)) == (1, 1, 1, 1)


def test_one_mention_that_cannot_be_handled_keeps_no_other_from_being_answered(
    x: FakeX, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    x.mention(by="asha", media=[x.add_video()])
    x.mention(by="ravi")
    monkeypatch.setattr(links, "submit_link", lambda **_: 1 / 0)
    bot.round()
    assert [mention.problem for mention in Mention.objects.order_by("tweet_id")] == ["internal_error", "no_media"]
    assert len(x.messages) == 1


def test_stop_is_heard_however_often_somebody_asked(x: FakeX, bot: Bot, settings: Any) -> None:
    settings.TWITTER_HOURLY_PER_AUTHOR = 1
    x.mention(by="asha")
    x.mention(by="asha", text="@sentinelcheck stop")
    bot.round()
    assert XAccount.objects.get().opted_out_at
    # Not even what was written before goes out.
    assert x.messages == []


def test_stop_is_confirmed_once(x: FakeX, bot: Bot) -> None:
    for _ in range(3):
        x.mention(by="asha", text="@sentinelcheck stop")
    x.mention(by="asha", text="@sentinelcheck link")
    bot.round()
    assert len(x.messages) == 1
    assert statuses() == ["answered", "ignored", "ignored", "ignored"]
