"""Public result cards: what everybody sees, in which language, and that nothing else gets out."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from django.utils import translation
from django.utils.html import escape
from PIL import Image, ImageFont, features

from accounts.models import User
from media_analysis import cards, cases, services
from media_analysis.models import Analysis, CaseRole, ResultCard
from reports import card_picture, lettering, typefaces
from reports.card_picture import HEIGHT, WIDTH, draw, words_of
from reports.lettering import LINE_HEIGHT, Style, fit, measure, wrap
from tests.media_analysis.factories import make_analysis
from tests.reports.factories import make_reportable

OUTCOMES = ("FAKE", "REAL", "INCONCLUSIVE", "NOT_ASSESSABLE")
LANGUAGES = ("en", "mr", "hi", "bn", "ml", "te")
NAME = "my secret holiday.mp4"
CASE = {"complainant_name": "Asha Complainant", "case_id": "CASE-77", "station": "Thana Road"}


def share(owner: User, outcome: str = "FAKE", **fields: Any) -> ResultCard:
    analysis = make_reportable(owner, outcome, faces=2, case=CASE, media={"original_name": NAME}, **fields)
    return cards.publish(analysis, by=owner)


def read(client: Client, card: ResultCard, **headers: str) -> str:
    answer = client.get(f"/r/{card.public_id}/", headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(
    ("outcome", "texts"),
    [
        ("FAKE", ["Signs of manipulation found", "93.4 %", "0.0–3.2 s", "called fake: 3 (5.0 %"]),
        ("REAL", ["No sign of manipulation found", "87.9 %", "does not make the file genuine"]),
        ("INCONCLUSIVE", ["Can't tell", "The signs are too weak to say either way.", "Take this as no result"]),
        ("NOT_ASSESSABLE", ["Could not be examined, because no human face", "There is no score"]),
    ],
)
def test_everybody_is_told_what_was_found(owner: User, client: Client, outcome: str, texts: list[str]) -> None:
    card = share(owner, outcome)
    page = read(client, card)
    for text in [*texts, "tiny-test", card.analysis.media.sha256, "not proof"]:
        assert escape(text) in page, text
    assert page.count("<h1>") == 1
    if outcome != "FAKE":
        assert "0.0–3.2 s" not in page


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_nobody_learns_whose_file_it_was_or_sees_it(owner: User, client: Client, outcome: str) -> None:
    owner.first_name, owner.last_name = "Unmistakable", "Surname"
    owner.save()
    card = share(owner, outcome)
    analysis = card.analysis
    page = read(client, card)
    secrets = [
        *(NAME, owner.username, owner.email, owner.public_id, "Unmistakable", "Surname"),
        *(analysis.public_id, analysis.media.public_id, *CASE.values()),
        *("evidence/", "crop-", "frame-", "heat-", "media/", "/analyses/" + analysis.public_id),
    ]
    assert [secret for secret in secrets if secret in page.replace(card.public_id, "")] == []
    assert re.findall(r"<img[^>]+src=\"([^\"]+)", page) == ["/static/img/logo.svg"]


def test_other_sites_find_a_title_and_a_picture(owner: User, client: Client, settings: Any) -> None:
    card = share(owner)
    settings.SENTINEL_URL = "https://sentinel.example.org"
    page = read(client, card)
    told = dict(re.findall(r'<meta (?:property|name)="([^"]+)"\s+content="([^"]*)"', page))
    assert told["og:title"] == "Signs of manipulation found"
    assert told["og:url"] == f"https://sentinel.example.org/r/{card.public_id}/"
    assert told["og:image"] == f"https://sentinel.example.org/r/{card.public_id}.png?lang=en"
    assert told["twitter:card"] == "summary_large_image"
    assert "noindex" in told["robots"]
    answer = client.get(told["og:image"].removeprefix("https://sentinel.example.org"))
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
    assert "noindex" in answer["X-Robots-Tag"]
    assert Image.open(BytesIO(answer.content)).size == (WIDTH, HEIGHT)
    assert len(answer.content) < 200_000
    assert "public" in answer["Cache-Control"]
    again = client.get(f"/r/{card.public_id}.png?lang=en", headers={"if-none-match": answer["ETag"]})
    assert again.status_code == 304


def test_the_link_may_say_the_language_unless_the_visitor_has_chosen_one(owner: User, client: Client) -> None:
    card = share(owner)
    address = f"/r/{card.public_id}/"
    answer = client.get(f"{address}?lang=hi")
    assert answer["Content-Language"] == "hi"
    assert '<html lang="hi"' in answer.content.decode()
    assert ".png?lang=hi" in answer.content.decode()
    assert client.get(address, headers={"accept-language": "bn"})["Content-Language"] == "bn"
    assert client.get(f"{address}?lang=xx")["Content-Language"] == "en"
    client.cookies["django_language"] = "te"
    assert client.get(f"{address}?lang=hi")["Content-Language"] == "te"


def test_what_is_not_shared_looks_like_what_never_was(owner: User, client: Client) -> None:
    withdrawn, deleted = share(owner), share(owner)
    cards.withdraw(withdrawn, by=owner)
    services.delete_media(deleted.analysis.media)
    pages = set()
    for public_id in (withdrawn.public_id, deleted.public_id, "0" * 24):
        answer = client.get(f"/r/{public_id}/")
        assert answer.status_code == 404
        assert "noindex" in answer["X-Robots-Tag"]
        text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
        pages.add(text.replace(public_id, ""))
        assert client.get(f"/r/{public_id}.png").status_code == 404
    assert len(pages) == 1
    assert "This result is not here" in pages.pop()


def test_the_owner_shares_and_takes_back_on_the_result_page(owner: User, as_owner: Client, client: Client) -> None:
    analysis = make_reportable(owner)
    result = f"/analyses/{analysis.public_id}/"
    page = as_owner.get(result).content.decode()
    assert "Make a public page" in page
    assert "/r/" not in page
    assert as_owner.post(f"{result}card/").status_code == 302
    card = ResultCard.objects.get()
    page = as_owner.get(result).content.decode()
    assert f'value="http://testserver/r/{card.public_id}/"' in page
    assert "Stop sharing" in page
    assert client.get(f"/r/{card.public_id}/").status_code == 200
    assert as_owner.post(f"{result}card/withdraw/").status_code == 302
    assert client.get(f"/r/{card.public_id}/").status_code == 404
    assert as_owner.post(f"{result}card/withdraw/").status_code == 302
    assert "Make a public page" in as_owner.get(result).content.decode()


def test_nobody_else_shares_it(owner: User, as_stranger: Client, as_admin: Client, client: Client) -> None:
    card = share(owner)
    analysis = card.analysis
    for path in (f"/analyses/{analysis.public_id}/card/", f"/analyses/{analysis.public_id}/card/withdraw/"):
        assert as_stranger.post(path).status_code == 404
        assert as_admin.post(path).status_code == 404
        assert client.post(path).status_code == 302
        assert as_stranger.get(path).status_code == 405
    assert cards.get_card(card.public_id)


def test_colleagues_of_its_case_see_that_it_is_shared_and_do_not_share_it(
    owner: User, stranger: User, as_stranger: Client
) -> None:
    analysis = share(owner).analysis
    case = cases.open_case(owner, "State v. X", {})
    seat = cases.take_seat(owner, case.public_id)
    cases.add_media(seat, [analysis.media.public_id])
    cases.accept_invitation(stranger, cases.invite(seat, "stranger", CaseRole.EXAMINER).public_id)
    page = as_stranger.get(f"/analyses/{analysis.public_id}/")
    assert page.status_code == 200
    assert "Stop sharing" not in page.content.decode()
    api = f"/api/v1/analyses/{analysis.public_id}/card/"
    assert as_stranger.get(api).status_code == 200
    assert as_stranger.post(api).status_code == as_stranger.delete(api).status_code == 403
    assert as_stranger.post(f"/analyses/{analysis.public_id}/card/withdraw/").status_code == 403
    assert cards.card_of(analysis)


def test_the_api_shares_and_takes_back(owner: User, as_owner: Client) -> None:
    path = f"/api/v1/analyses/{make_reportable(owner).public_id}/card/"
    assert as_owner.get(path).status_code == 404
    first = as_owner.post(path).json()
    card = ResultCard.objects.get()
    assert first["id"] == card.public_id
    assert first["url"] == f"http://testserver/r/{card.public_id}/"
    assert first["picture_url"] == f"http://testserver/r/{card.public_id}.png"
    assert as_owner.post(path).json() == as_owner.get(path).json() == first
    assert as_owner.delete(path).status_code == as_owner.delete(path).status_code == 204
    assert as_owner.get(path).status_code == 404


@pytest.mark.parametrize(("status", "error"), [("running", "not_finished"), ("failed", "no_result")])
def test_without_a_result_there_is_nothing_to_share(owner: User, as_owner: Client, status: str, error: str) -> None:
    analysis = make_analysis(owner, status=status)
    answer = as_owner.post(f"/api/v1/analyses/{analysis.public_id}/card/")
    assert (answer.status_code, answer.json()["error"]) == (409, error)
    assert as_owner.post(f"/analyses/{analysis.public_id}/card/").status_code == 409


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_picture_holds_all_of_its_words_in_every_language(owner: User, language: str) -> None:
    """Nothing is wider than the picture, and what stands above ends above what stands below."""
    many = [[start, start + 3.25] for start in range(0, 60, 5)]
    found = [("FAKE", ""), ("REAL", ""), *(("INCONCLUSIVE", reason) for reason in ("weak_evidence", "unstable_copies"))]
    for outcome, reason in [*found, ("NOT_ASSESSABLE", "no_face"), ("NOT_ASSESSABLE", "too_few_frames")]:
        analysis = make_reportable(owner, outcome, faces=1)
        Analysis.objects.filter(pk=analysis.pk).update(
            result={**(analysis.result or {}), "timestamps": many if outcome == "FAKE" else []}, reason=reason
        )
        analysis.refresh_from_db()
        words = words_of(cards.publish(analysis, by=owner), language)
        foot, top = card_picture._foot(words)
        body = card_picture._body(words, top - card_picture.GAP)
        for line in [*body, *foot]:
            assert line.x + measure(line.text, line.style) <= WIDTH - 40, line
            assert lettering.ELLIPSIS not in line.text, line
        assert max(line.y + line.style.size * (LINE_HEIGHT - card_picture.ASCENT) for line in body) < top
        assert max(line.y for line in foot) < HEIGHT - 20
        assert draw(words) is draw(words)


def test_equal_results_share_a_picture_and_others_do_not(owner: User) -> None:
    fake, real = share(owner), share(owner, "REAL")
    assert draw(words_of(fake, "en")) != draw(words_of(real, "en"))
    assert draw(words_of(fake, "en")) != draw(words_of(fake, "hi"))


def test_without_raqm_pictures_are_in_english(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    card = share(owner)
    english = card_picture.picture_of(card, "en")
    monkeypatch.setattr(features, "check", lambda name: name != "raqm")
    assert card_picture.picture_of(card, "hi") == english


@pytest.mark.parametrize(
    ("language", "word", "script"),
    [
        ("hi", "क्षत्रिय", "devanagari"),
        ("mr", "ज्ञानेश्वर", "devanagari"),
        ("bn", "ক্ষক্রি", "bengali"),
        ("ml", "സ്ത്രീക്ഷ", "malayalam"),
        ("te", "స్త్రీక్ష", "telugu"),
    ],
)
def test_letters_are_joined_as_their_script_wants(language: str, word: str, script: str) -> None:
    """Shaped, a word is narrower than its letters in a row."""
    style = Style(40, 700, language)
    basic = ImageFont.truetype(str(typefaces.file_of(script, 700)), 40, layout_engine=ImageFont.Layout.BASIC)
    assert measure(word, style) < basic.getlength(word) * 0.95


def test_lines_break_at_blanks_and_letters_shrink_until_they_fit() -> None:
    style = Style(30, 400, "en")
    text = "one two three four five six seven"
    lines = wrap(text, 200, style)
    assert len(lines) > 1
    assert " ".join(lines) == text
    assert all(measure(line, style) <= 200 for line in lines)
    small, _lines = fit(text, width=300, lines=1, sizes=(60, 40, 14), weight=400, language="en")
    assert small.size == 14
    _style, cut = fit("W" * 90, width=300, lines=1, sizes=(40, 30), weight=400, language="en")
    assert cut[0].endswith(lettering.ELLIPSIS)
    assert measure(cut[0], Style(30, 400, "en")) <= 300
    with translation.override("hi"):
        assert wrap("", 100, style) == []
