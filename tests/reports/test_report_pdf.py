"""What a report says, read back out of the PDF, and that it is made once and goes with its media."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from typing import Any

import pypdf
import pytest
from django.core.files.storage import default_storage
from django.db import connection, connections
from django.utils import timezone

from accounts.errors import Code, SentinelError
from accounts.models import User
from media_analysis import custody, evidence
from media_analysis import services as media_services
from media_analysis.models import Analysis, CaseDetails, Submission
from media_analysis.wording import verdict_text
from reports import document, issued, pictures, services
from reports.models import Report
from reports.pdf import Engine, Xhtml2Pdf, get_engine
from reports.presentation import present
from tests.conftest import make_user
from tests.media_analysis.factories import make_analysis, make_done
from tests.reports.factories import make_reportable, picture
from tests.reports.sealing import a_pdf

MOST_BYTES = 3 * 1024 * 1024
ENGINES = [pytest.param(get_engine, id="weasyprint"), pytest.param(Xhtml2Pdf, id="xhtml2pdf")]


def render(analysis: Analysis, engine: Engine | None = None) -> pypdf.PdfReader:
    engine = engine or get_engine()
    composed = document.compose(analysis, "en", engine, made_at=timezone.now())
    return pypdf.PdfReader(BytesIO(engine.render(composed.markup, composed.parts)))


def text_of(reader: pypdf.PdfReader, *, first: int | None = None) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader.pages[:first]).split())


def structure_of(node: Any) -> Iterator[Any]:
    """Every element below a node of a PDF's structure tree."""
    node = node.get_object() if hasattr(node, "get_object") else node
    if isinstance(node, list):
        for child in node:
            yield from structure_of(child)
    elif isinstance(node, dict):
        if "/S" in node:
            yield node
        yield from structure_of(node.get("/K"))


@pytest.mark.parametrize("make_engine", ENGINES)
@pytest.mark.parametrize("outcome", ["FAKE", "REAL", "INCONCLUSIVE", "NOT_ASSESSABLE"])
def test_each_outcome_is_told_on_the_first_page(owner: User, outcome: str, make_engine: Any) -> None:
    analysis = make_reportable(owner, outcome)
    reader = render(analysis, make_engine())
    first, whole = text_of(reader, first=1), text_of(reader)
    assert verdict_text(analysis) in first
    assert owner.public_id in first
    assert owner.username in first
    assert analysis.media.public_id in first
    assert analysis.public_id in first
    assert analysis.media.sha256 in first
    assert "It is a machine’s opinion, not proof." in first
    assert ("Confidence:" in first) is (outcome in {"FAKE", "REAL"})
    assert ("Scores over time" in whole) is (outcome != "NOT_ASSESSABLE")
    assert f"page {len(reader.pages)} of {len(reader.pages)}" in whole
    # Whatever signs the texts use, the fonts have them.
    assert whole.count("[U+") == 1


@pytest.mark.parametrize("make_engine", ENGINES)
def test_every_figure_is_in_it(owner: User, make_engine: Any) -> None:
    analysis = make_reportable(owner, people=3)
    whole = text_of(render(analysis, make_engine()))
    expected = {
        "size": "(5 bytes)",
        "MD5": "b" * 32,
        "container": "mp4",
        "codec": "h264",
        "duration": "8.00 seconds",
        "frames": "50",
        "frames a second": "25",
        "resolution": "640 × 480 pixels",
        "detector": "tiny-test, version 1",
        "weights": "c" * 64,
        "software": "Sentinel 7.7.7",
        "precision": "openvino, precision float32, on cpu",
        "settings": "versions.torch 9.9.9",
        "threshold": "from a score of 80 % up",
        "score": "93.4 % of person 1, who decides",
        "second person": "Fake probability: 88.4 %",
        "third person": "Fake probability: 83.4 %",
        "confidence": "Confidence: 93.4 %",
        "ratio": "3.00 (frames called real: 6, called fake: 2)",
        "stretch": "0.0–3.2 s",
        "copies": "JPEG, low quality",
        "score on a copy": "72.1 %",
        "camera": "Apple iPhone 15",
        "credentials": "none: unknown",
        "false alarms": "Of 60 real videos of this kind, called fake: 3 (5.0 %, 95 % interval 1.0–14.0 %).",
        "used for choosing": "on others it will err more often",
        "annex": "Scores of person 3",
        "last score": "94.1 %",
        "heat map": "Heat map of the face of person 1",
        "way": "by way of: app",
    }
    missing = {name: text for name, text in expected.items() if text not in whole}
    assert not missing
    findings, meaning = (
        whole.index("What it may mean is told in the part after it."),
        whole.index("reaches the threshold"),
    )
    assert findings < meaning


def test_a_photo_is_shown_with_its_faces_and_has_no_times(owner: User) -> None:
    reader = render(make_reportable(owner, people=2, photo=True))
    whole = text_of(reader)
    assert "Was this photo manipulated?" in whole
    assert "The photo with the faces found" in whole
    assert "Photo id" in whole
    for text in ("Real-to-fake ratio", "Scores over time", "Duration", " 0.00 s"):
        assert text not in whole


def test_case_details_are_printed_where_there_are_some(owner: User) -> None:
    case = {"case_id": "CR-2026/1183", "officer_name": "R. Kulkarni", "fir_description": "First line\nSecond line"}
    whole = text_of(render(make_reportable(owner, case=case)))
    for text in ("The case, as the submitter gave it", "CR-2026/1183", "R. Kulkarni", "First line Second line"):
        assert text in whole
    assert "Police station" not in whole
    assert "The case, as" not in text_of(render(make_reportable(owner)))


@pytest.mark.parametrize("make_engine", ENGINES)
def test_what_others_wrote_is_shown_as_text(owner: User, make_engine: Any) -> None:
    hostile = '<img src="http://evil.example/x.png"><script>alert(1)</script>&amp; {{ 7|add:1 }} \u202e'
    analysis = make_reportable(owner, media={"original_name": hostile}, case={"fir_description": hostile})
    engine = make_engine()
    composed = document.compose(analysis, "en", engine, made_at=timezone.now())
    assert "<script" not in composed.markup
    # Were it asked for, the engine would refuse to make the report.
    reader = pypdf.PdfReader(BytesIO(engine.render(composed.markup, composed.parts)))
    shown = "".join(text_of(reader).split())
    assert shown.count('<imgsrc="http://evil.example/x.png"><script>alert(1)</script>&amp;{{7|add:1}}[U+202E]') >= 3


def test_results_from_before_all_this_was_noted_have_their_report(owner: User) -> None:
    whole = text_of(render(make_done(owner)))
    assert "Unknown: nothing was noted about it when this file was examined." in whole
    assert "Nothing was noted about it when this file was examined." in whole
    for text in ("Key frames", "worse copies", "Calculated with"):
        assert text not in whole


def test_it_is_tagged_titled_and_has_bookmarks(owner: User) -> None:
    analysis = make_reportable(owner)
    reader = render(analysis)
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == "en"
    elements = list(structure_of(root["/StructTreeRoot"]))
    figures = [element for element in elements if element["/S"] == "/Figure"]
    assert len(figures) > 12
    assert all(figure.get("/Alt") for figure in figures)
    assert {"/H1", "/H2", "/H3", "/Table", "/TH", "/L"} <= {element["/S"] for element in elements}
    assert reader.metadata is not None
    assert reader.metadata.title == "Report on “clip.mp4”"
    titles = [entry["/Title"] for entry in reader.outline if not isinstance(entry, list)]
    assert any("Findings" in str(title) for title in titles)
    assert any("Words used in this report" in str(title) for title in titles)


@pytest.mark.slow
def test_its_size_stays_below_3_mb_even_for_noise_with_the_original_attached(owner: User) -> None:
    analysis = make_reportable(owner, people=6, faces=12, noisy=True)
    report = services.get_report(analysis, "hi")
    assert Report.objects.get(language="en").size < report.size < MOST_BYTES


def test_a_translation_has_the_english_report_attached_and_names_it(owner: User) -> None:
    analysis = make_reportable(owner, "NOT_ASSESSABLE")
    translated = services.get_report(analysis, "mr")
    original = Report.objects.get(language="en")
    reader = pypdf.PdfReader(BytesIO(services.read_report(translated)))
    (attached,) = reader.attachment_list
    assert attached.content == services.read_report(original)
    assert attached.name == f"sentinel-report-{original.public_id}-en.pdf"
    root: Any = reader.trailer["/Root"]
    assert [file.get_object()["/AFRelationship"] for file in root["/AF"]] == ["/Alternative"]
    assert original.sha256 in "".join(text_of(reader, first=1).split())
    original_reader = pypdf.PdfReader(BytesIO(services.read_report(original)))
    assert not list(original_reader.attachment_list)
    assert "is a translation" not in text_of(original_reader)


def test_a_crowd_is_told_whole_and_pictured_in_part(owner: User) -> None:
    people = document.PEOPLE_SHOWN + 2
    analysis = make_reportable(owner, people=people, faces=2)
    composed = document.compose(analysis, "en", get_engine(), made_at=timezone.now())
    crops = [name for name in composed.parts if name.startswith("crop-")]
    assert len(crops) == 2 * document.PEOPLE_SHOWN
    # The highest scores come first in the factory.
    assert not any(name.startswith(f"crop-{people - 1}-") for name in crops)
    assert f"Scores of person {people}" in " ".join(composed.markup.split())


class Texts(HTMLParser):
    """The texts of a report's markup that are printed, without white space, each as one piece."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._silent and data.strip():
            self.found.append("".join(unicodedata.normalize("NFC", data).split()))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "mr", "hi", "bn", "ml", "te"])
def test_all_its_text_is_copied_as_it_was_written(owner: User, language: str) -> None:
    analysis = make_reportable(owner, faces=3, case={"fir_description": "क्षि ক্ষি ക്ഷി క్షి " * 20})
    composed = document.compose(analysis, language, get_engine(), made_at=timezone.now())
    pages = pypdf.PdfReader(BytesIO(get_engine().render(composed.markup, composed.parts))).pages
    copied = ["".join(unicodedata.normalize("NFC", page.extract_text()).split()) for page in pages]
    texts = Texts()
    texts.feed(composed.markup)
    assert len(texts.found) > 200
    lost = [
        text
        for text in texts.found
        if not any(text in page for page in copied)
        and not any(
            any(text[:cut] in page and text[cut:] in following for cut in range(1, len(text)))
            for page, following in pairwise(copied)
        )
    ]
    assert lost == []


@pytest.mark.parametrize("language", ["bn", "ml", "te"])
def test_drawings_hold_no_letters_that_need_shaping(owner: User, language: str) -> None:
    """WeasyPrint sets the text of a drawing letter by letter."""
    analysis = make_reportable(owner, people=3)
    composed = document.compose(analysis, language, get_engine(), made_at=timezone.now())
    drawings = {name: part.content.decode() for name, part in composed.parts.items() if name.endswith(".svg")}
    assert {"curve.svg", "scale.svg"} <= set(drawings)
    assert all(content.isascii() for content in drawings.values())


def test_boxes_are_drawn_where_the_faces_are(owner: User) -> None:
    from PIL import Image

    analysis = make_reportable(owner)
    (frame, *_rest) = present(analysis).key_frames
    blank = BytesIO()
    Image.new("RGB", (640, 480), "white").save(blank, "JPEG")
    with Image.open(BytesIO(pictures.draw_key_frame(blank.getvalue(), frame))) as drawn:
        assert drawn.size == (640, 480)
        # The edge of the box is coloured, its middle and what is far away are not.
        assert drawn.getpixel((40, 110)) != drawn.getpixel((80, 110))
        assert min(drawn.getpixel((80, 110))) > 240  # type: ignore[arg-type]
        assert min(drawn.getpixel((500, 400))) > 240  # type: ignore[arg-type]


def test_noisy_pictures_are_made_small(owner: User) -> None:
    (frame, *_rest) = present(make_reportable(owner)).key_frames
    assert len(pictures.draw_key_frame(picture(1, (1280, 960), noisy=True), frame)) <= pictures.MOST_BYTES


def test_it_is_made_once(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_reportable(owner)
    first = services.get_report(analysis, "en")
    monkeypatch.setattr(services, "compose", None)
    assert services.get_report(analysis, "en").pk == first.pk
    pdf = services.read_report(first)
    assert (first.size, pdf[:5]) == (len(pdf), b"%PDF-")


def test_it_is_made_anew_where_its_file_is_gone(owner: User) -> None:
    analysis = make_reportable(owner)
    first = services.get_report(analysis, "en")
    default_storage.delete(first.file)
    again = services.get_report(analysis, "en")
    assert again.pk != first.pk
    assert services.read_report(again).startswith(b"%PDF-")


def test_it_is_made_anew_where_its_file_was_submitted_for_a_case_since(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = make_reportable(owner, faces=1)
    monkeypatch.setattr(services, "compose", lambda *_args, **_options: document.Document())
    monkeypatch.setattr(get_engine(), "render", lambda *_args: a_pdf())

    def submit_again(**case: str) -> None:
        submission = Submission.objects.create(media=analysis.media, submitted_by=owner, source=Submission.Source.WEB)
        if case:
            CaseDetails.objects.create(submission=submission, **case)
        custody.record(analysis.media.public_id, custody.Event.RECEIVED, actor=owner, source="web")

    custody.record(analysis.media.public_id, custody.Event.RECEIVED, actor=owner, source="web")
    first = services.get_report(analysis, "en")
    submit_again()
    assert services.get_report(analysis, "en").pk == first.pk
    submit_again(fir_id="12/2026")
    second = services.get_report(analysis, "en")
    assert second.pk != first.pk
    assert not default_storage.exists(first.file)
    assert services.get_report(analysis, "en").pk == second.pk
    # What was handed out before stays what it was.
    assert issued.find(first.sha256) is not None


def test_a_result_that_is_not_stable_is_none_whatever_its_score(owner: User) -> None:
    analysis = make_reportable(owner, "INCONCLUSIVE", faces=1)
    analysis.fake_probability, analysis.reason = 0.97, "unstable_copies"
    markup = " ".join(document.compose(analysis, "en", get_engine(), made_at=timezone.now()).markup.split())
    # On the first page, where the score stands beside the thresholds, and where they are told.
    assert markup.count("Where the signs are not stable, the result is “can’t tell” whatever the score.") == 2


def test_it_goes_with_the_media(owner: User) -> None:
    analysis = make_reportable(owner)
    report = services.get_report(analysis, "en")
    media_services.delete_media(analysis.media)
    assert not default_storage.exists(report.file)
    assert not default_storage.exists(f"analyses/{analysis.public_id}")
    assert not Report.objects.exists()


def test_a_report_of_media_deleted_meanwhile_leaves_nothing(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_reportable(owner)
    compose = document.compose

    def delete_first(*args: Any, **kwargs: Any) -> document.Document:
        composed = compose(*args, **kwargs)
        media_services.delete_media(Analysis.objects.get(pk=analysis.pk).media)
        return composed

    monkeypatch.setattr(services, "compose", delete_first)
    with pytest.raises(SentinelError) as refused:
        services.get_report(analysis, "en")
    assert refused.value.code is Code.NOT_FOUND
    assert not default_storage.exists(f"analyses/{analysis.public_id}")


@pytest.mark.parametrize(
    ("status", "code"), [("queued", Code.NOT_FINISHED), ("running", Code.NOT_FINISHED), ("failed", Code.NO_RESULT)]
)
def test_without_a_result_there_is_no_report(owner: User, status: str, code: Code) -> None:
    analysis = make_analysis(owner, status=status, error_code="internal_error" if status == "failed" else "")
    with pytest.raises(SentinelError) as refused:
        services.get_report(analysis, "en")
    assert refused.value.code is code


def test_a_picture_that_is_missing_is_an_error_and_no_report(owner: User) -> None:
    analysis = make_reportable(owner)
    stored = evidence.find(analysis, evidence.frame_name(0))
    assert stored
    default_storage.delete(stored)
    with pytest.raises(FileNotFoundError):
        services.get_report(analysis, "en")
    assert not Report.objects.exists()


def test_where_others_take_too_long_one_is_told_to_come_again(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_reportable(owner, "NOT_ASSESSABLE")
    made = services.get_report(analysis, "en")
    monkeypatch.setattr(services, "MOST_SECONDS_WAITED", 0.01)
    with services._MAKING:
        # What is there already waits for nobody.
        assert services.get_report(analysis, "en") == made
        with pytest.raises(SentinelError) as refused:
            services.get_report(analysis, "hi")
    assert (refused.value.code, refused.value.status) == (Code.REPORTS_BUSY, 503)
    assert "Retry-After" in refused.value.headers


def test_without_pango_other_languages_are_refused(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_reportable(owner)
    monkeypatch.setattr(services, "get_engine", Xhtml2Pdf)
    with pytest.raises(SentinelError) as refused:
        services.get_report(analysis, "hi")
    assert (refused.value.code, refused.value.status) == (Code.LANGUAGE_UNAVAILABLE, 503)
    assert services.get_report(analysis, "en").engine == "xhtml2pdf"


def test_the_language_is_the_one_asked_for_or_that_of_the_account(owner: User, settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("hi", "हिन्दी")]
    owner.language = "hi"
    assert services.choose_language(owner, "en") == "en"
    assert services.choose_language(owner) == "hi"
    assert services.choose_language(owner, "xx") == "hi"
    owner.language = ""
    assert services.choose_language(owner) == "en"


@pytest.mark.django_db(transaction=True)
def test_requests_at_once_get_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    analysis = make_reportable(make_user("owner"))
    made: list[int] = []
    compose = document.compose

    def slowly(*args: Any, **kwargs: Any) -> document.Document:
        made.append(1)
        assert not connection.in_atomic_block
        time.sleep(0.2)
        return compose(*args, **kwargs)

    monkeypatch.setattr(services, "compose", slowly)
    assert _at_once(analysis, 4) == {Report.objects.get().pk}
    assert len(made) == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_processes_at_once_keep_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock that threads share, as in several processes: the slower ones take what the first wrote."""

    class NoLock:
        def acquire(self, **_how_long: float) -> bool:
            return True

        def release(self) -> None: ...

    analysis = make_reportable(make_user("owner"))
    both = threading.Barrier(2, timeout=60)
    compose = document.compose

    def together(*args: Any, **kwargs: Any) -> document.Document:
        both.wait()
        return compose(*args, **kwargs)

    monkeypatch.setattr(services, "_MAKING", NoLock())
    monkeypatch.setattr(services, "compose", together)
    report = Report.objects.get(pk=_at_once(analysis, 2).pop())
    _folders, files = default_storage.listdir(f"analyses/{analysis.public_id}/reports")
    assert [f"analyses/{analysis.public_id}/reports/{name}" for name in files] == [report.file]
    assert Report.objects.count() == 1


def _at_once(analysis: Analysis, count: int) -> set[int]:
    """Keys of the reports that so many threads get."""
    got: list[int] = []

    def ask() -> None:
        try:
            got.append(services.get_report(Analysis.objects.get(pk=analysis.pk), "en").pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == count
    return set(got)
