"""What leaves for training: only what its owner permits and a reviewer confirmed, where training looks for it."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from accounts.ids import new_public_id
from accounts.models import User
from media_analysis import export, feedback, services
from media_analysis.export import Gone, Layout, Left, Report, WrongFolder, export_feedback
from media_analysis.models import Analysis, Feedback, Media
from ml.training.dfdc.layout import read_collection
from ml.training.faces_index import index_faces, portrait_paths, read_index
from ml.training.scoring import find_labelled
from tests.media_analysis.factories import make_done, make_feedback, make_media
from tests.media_factory import make_face_image

pytestmark = pytest.mark.django_db(transaction=True)

AGREE, DISAGREE = Feedback.Opinion
Review, Method = Feedback.Review, Feedback.Method
EVALUATION, TRAINING = Layout.EVALUATION, Layout.TRAINING
REAL_AT, FAKE_AT = "videos/feedback/real", "videos/feedback/fake/face_swap"

Give = Callable[..., Feedback]


def a_file(owner: User, content: bytes, **fields: Any) -> Media:
    public_id = new_public_id()
    stored = default_storage.save(f"media/{public_id}/original", ContentFile(content))
    facts = {"public_id": public_id, "file": stored, "size": len(content), "original_name": "asha at home.mp4"}
    return make_media(owner, sha256=hashlib.sha256(content).hexdigest(), **{**facts, **fields})


@pytest.fixture
def give(owner: User, admin: User) -> Give:
    """Confirmed and consented to as real, unless said otherwise. Each has other bytes."""

    def given(
        content: bytes = b"", *, user: User = owner, kind: str = "video", codec: str = "h264", **said: Any
    ) -> Feedback:
        content = content or new_public_id().encode()
        analysis = make_done(user, media=a_file(user, content, kind=kind, codec=codec))
        return make_feedback(analysis, **{"reviewer": admin, **said})

    return given


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export"


def sha256_of(given: Feedback) -> str:
    return given.analysis.media.sha256


def files_in(folder: Path) -> set[str]:
    """Everything but the export's own files."""
    own = {export.MANIFEST_FILE, export.LOCK_FILE}
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - own


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / export.MANIFEST_FILE).read_text()))


def run(folder: Path, **options: Any) -> Report:
    return export_feedback(folder, **{"layout": EVALUATION, **options})


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"consent": False}, Left.NO_CONSENT),
        ({"reviewer": None}, Left.NOT_REVIEWED),
        ({"decision": Review.REJECTED}, Left.REJECTED),
        ({"opinion": AGREE}, Left.AGREEMENT),
    ],
)
@pytest.mark.parametrize("layout", Layout)
def test_what_may_not_leave_stays(give: Give, folder: Path, layout: Layout, said: dict[str, Any], reason: Left) -> None:
    give(**said)
    report = run(folder, layout=layout)
    assert files_in(folder) == set()
    assert report.left_out == {reason: 1}
    assert Feedback.objects.get().exported_at is None


def test_what_was_withdrawn_before_stays(give: Give, folder: Path, owner: User) -> None:
    given = give()
    feedback.withdraw_consent(user=owner, analysis=given.analysis)
    run(folder)
    assert files_in(folder) == set()


def test_what_is_being_deleted_stays(give: Give, folder: Path) -> None:
    deleted, interrupted = give(), give()
    services.delete_media(deleted.analysis.media)
    Media.objects.filter(pk=interrupted.analysis.media_id).update(deleted_at=timezone.now())
    run(folder)
    assert files_in(folder) == set()


def test_a_withdrawal_while_the_file_is_being_copied_is_heeded(
    give: Give, folder: Path, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = give()
    copy = export._copy

    def withdraw_meanwhile(stored: str, target: Path) -> str:
        digest = copy(stored, target)
        feedback.withdraw_consent(user=owner, analysis=given.analysis)
        return digest

    monkeypatch.setattr(export, "_copy", withdraw_meanwhile)
    report = run(folder)
    assert files_in(folder) == set()
    assert manifest_of(folder)["items"] == []
    assert report.left_out == {Left.NO_CONSENT: 1}


def test_evaluate_finds_what_was_handed_over(give: Give, folder: Path) -> None:
    real = give(b"real clip")
    fake = give(b"fake clip", decision=Review.FAKE, method=Method.FACE_SWAP)
    photo = give(b"photo", kind="image", codec="heic", decision=Review.FAKE, method=Method.GENERATED)
    report = run(folder)
    assert len(report.exported) == 3
    found = {
        (file.group, file.label, file.method, file.path.stem): file.path.read_bytes() for file in find_labelled(folder)
    }
    assert found == {
        ("videos/feedback", "real", "", sha256_of(real)): b"real clip",
        ("videos/feedback", "fake", "face_swap", sha256_of(fake)): b"fake clip",
        ("images/feedback", "fake", "generated", sha256_of(photo)): b"photo",
    }
    assert Feedback.objects.filter(exported_at__isnull=False).count() == 3


def test_the_dfdc_steps_find_the_real_videos(give: Give, folder: Path) -> None:
    real = give(b"clip")
    give(decision=Review.FAKE, method=Method.FACE_SWAP)
    report = run(folder, layout=TRAINING)
    collection = read_collection(folder)
    assert [(video.id, video.is_fake, video.path.read_bytes()) for video in collection.videos.values()] == [
        (sha256_of(real), False, b"clip")
    ]
    assert collection.skipped == ()
    # The steps would skip it: it shares the boxes of an original that nobody has.
    assert report.left_out == {Left.NO_ORIGINAL: 1}


def test_training_finds_the_portraits(give: Give, folder: Path, tmp_path: Path) -> None:
    portrait = make_face_image(tmp_path / "face.jpg").read_bytes()
    real = give(portrait, kind="image", codec="jpeg")
    fake = give(b"no picture", kind="image", codec="png", decision=Review.FAKE, method=Method.GENERATED)
    give(kind="image", codec="jpeg", decision=Review.FAKE, method=Method.FACE_SWAP)
    give(kind="image", codec="heic")
    report = run(folder, layout=TRAINING)
    assert report.left_out == {Left.NOT_GENERATED: 1, Left.UNREAD_FORMAT: 1}
    assert [path.relative_to(folder).as_posix() for path in portrait_paths(folder)] == [
        f"fake/feedback/{sha256_of(fake)}.png",
        f"real/feedback/{sha256_of(real)}.jpg",
    ]
    assert index_faces(folder, tmp_path / "work") == {"used": 1, "unreadable": 1}
    face = read_index(tmp_path / "work")[0]
    assert (face.label, face.source, Path(face.path).stem) == ("real", "feedback", sha256_of(real))


def test_agreements_come_when_asked_for_and_then_stay(give: Give, folder: Path) -> None:
    give(opinion=AGREE)
    assert run(folder).exported == []
    assert len(run(folder, include_agreements=True).exported) == 1
    report = run(folder)
    assert (report.unchanged, report.gone) == (1, {})


def test_nothing_tells_whose_it_was(give: Give, folder: Path, owner: User, admin: User) -> None:
    given = give(comment="My number is 98200 00000.")
    run(folder)
    text = (folder / export.MANIFEST_FILE).read_text() + " ".join(files_in(folder))
    private = [owner.username, owner.email, admin.username, owner.public_id, given.public_id, "98200", "asha"]
    private += [given.analysis.public_id, given.analysis.media.public_id]
    assert [word for word in private if word in text] == []


def test_the_manifest_says_what_and_why(give: Give, folder: Path) -> None:
    given = give(decision=Review.FAKE, method=Method.FACE_SWAP)
    run(folder)
    manifest = manifest_of(folder)
    assert "not for redistribution" in manifest["licence"]
    entry = manifest["items"][0]
    assert (entry["file"], entry["label"], entry["method"]) == (
        f"{FAKE_AT}/{sha256_of(given)}.mp4",
        "fake",
        "face_swap",
    )
    assert (entry["opinion"], entry["outcome"], entry["detector"]) == ("disagree", "FAKE", "tiny-test")
    assert given.reviewed_at is not None
    assert given.consent_at is not None
    assert entry["reviewed_at"] == given.reviewed_at.isoformat(timespec="seconds")
    assert entry["consent_at"] == given.consent_at.isoformat(timespec="seconds")


@pytest.mark.parametrize("layout", Layout)
def test_a_second_run_writes_only_what_is_new(give: Give, folder: Path, layout: Layout) -> None:
    give()
    run(folder, layout=layout)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.mp4")}
    manifest = (folder / export.MANIFEST_FILE).read_bytes()
    report = run(folder, layout=layout)
    assert (report.exported, report.unchanged) == ([], 1)
    assert (folder / export.MANIFEST_FILE).read_bytes() == manifest
    give()
    report = run(folder, layout=layout)
    assert (len(report.exported), report.unchanged) == (1, 1)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before


@pytest.mark.parametrize("layout", Layout)
def test_what_is_gone_is_listed_and_removed_only_when_asked(
    give: Give, folder: Path, owner: User, admin: User, layout: Layout
) -> None:
    kept, withdrawn, deleted, rejected = (give() for _ in range(4))
    run(folder, layout=layout)
    before = files_in(folder)
    feedback.withdraw_consent(user=owner, analysis=withdrawn.analysis)
    gone_sha256 = {sha256_of(withdrawn): Gone.WITHDRAWN, sha256_of(deleted): Gone.DELETED}
    gone_sha256[sha256_of(rejected)] = Gone.NOT_CONFIRMED
    services.delete_media(deleted.analysis.media)
    feedback.review_feedback(rejected, reviewer=admin, decision=Review.REJECTED)

    report = run(folder, layout=layout)
    assert {Path(file).stem: reason for file, reason in report.gone.items()} == gone_sha256
    assert files_in(folder) == before
    marked = {item["sha256"]: item["gone"]["reason"] for item in manifest_of(folder)["items"] if item["gone"]}
    assert marked == gone_sha256

    report = run(folder, layout=layout, prune=True)
    assert {Path(file).stem for file in report.pruned} == set(gone_sha256)
    assert {path.stem for path in folder.rglob("*.mp4")} == {sha256_of(kept)}
    assert [item["sha256"] for item in manifest_of(folder)["items"]] == [sha256_of(kept)]
    if layout is TRAINING:
        assert list(read_collection(folder).videos) == [sha256_of(kept)]
    assert run(folder, layout=layout).gone == {}


def test_consent_given_again_brings_it_back(give: Give, folder: Path, owner: User) -> None:
    given = give()
    run(folder)
    feedback.withdraw_consent(user=owner, analysis=given.analysis)
    run(folder)
    feedback.give_feedback(user=owner, analysis=given.analysis, opinion=DISAGREE, consent=True)
    report = run(folder)
    assert (report.unchanged, report.gone) == (1, {})
    assert manifest_of(folder)["items"][0]["gone"] is None


def test_a_corrected_label_is_corrected_at_once(give: Give, folder: Path, admin: User) -> None:
    given = give()
    run(folder)
    assert files_in(folder) == {f"{REAL_AT}/{sha256_of(given)}.mp4"}
    feedback.review_feedback(given, reviewer=admin, decision=Review.FAKE, method=Method.FACE_SWAP)
    report = run(folder)
    assert report.relabelled == [f"{FAKE_AT}/{sha256_of(given)}.mp4"]
    assert files_in(folder) == {f"{FAKE_AT}/{sha256_of(given)}.mp4"}


def test_the_same_bytes_from_two_people_need_one_truth(
    give: Give, folder: Path, stranger: User, admin: User, owner: User
) -> None:
    mine, theirs = give(b"same"), give(b"same", user=stranger)
    assert len(run(folder).exported) == 1
    feedback.withdraw_consent(user=owner, analysis=mine.analysis)
    assert run(folder).gone == {}
    feedback.give_feedback(user=owner, analysis=mine.analysis, opinion=DISAGREE, consent=True)
    feedback.review_feedback(theirs, reviewer=admin, decision=Review.FAKE, method=Method.LIP_SYNC)
    report = run(folder)
    assert report.left_out == {Left.CONFLICT: 1}
    assert list(report.gone.values()) == [Gone.NOT_CONFIRMED]


def test_a_killed_run_is_completed_and_leaves_no_file_unaccounted_for(
    give: Give, folder: Path, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sorted((give(), give()), key=sha256_of)

    def killed(folder: Path, item: Any) -> None:
        if item.media.sha256 == sha256_of(second):
            raise KeyboardInterrupt
        hand_over(folder, item)

    hand_over = export._hand_over
    monkeypatch.setattr(export, "_hand_over", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    monkeypatch.undo()
    entered = {item["file"] for item in manifest_of(folder)["items"]}
    assert files_in(folder) == {f"{REAL_AT}/{sha256_of(first)}.mp4"} < entered
    feedback.withdraw_consent(user=owner, analysis=first.analysis)
    report = run(folder)
    assert list(report.gone) == [f"{REAL_AT}/{sha256_of(first)}.mp4"]
    assert report.exported == [f"{REAL_AT}/{sha256_of(second)}.mp4"]


@pytest.mark.parametrize(("content", "reason"), [(None, Left.MISSING), (b"other", Left.DAMAGED)])
def test_a_lost_or_damaged_file_is_a_fault_and_not_data(
    give: Give, folder: Path, content: bytes | None, reason: Left
) -> None:
    stored = str(give().analysis.media.file)
    default_storage.delete(stored)
    if content:
        default_storage.save(stored, ContentFile(content))
    report = run(folder)
    assert (report.left_out, report.faulty, files_in(folder)) == ({reason: 1}, True, set())
    with pytest.raises(SystemExit) as stop:
        call_command("export_feedback", str(folder), "--layout", "evaluation", stdout=StringIO())
    assert stop.value.code == 1


def test_a_folder_of_something_else_is_refused(give: Give, folder: Path) -> None:
    give()
    run(folder)
    with pytest.raises(WrongFolder, match="layout"):
        run(folder, layout=TRAINING)
    (folder / export.MANIFEST_FILE).write_text("{")
    with pytest.raises(WrongFolder, match="cannot be read"):
        run(folder)
    (folder / export.MANIFEST_FILE).unlink()
    with pytest.raises(CommandError, match="not empty"):
        call_command("export_feedback", str(folder))


def test_two_exports_at_a_time_are_refused(folder: Path) -> None:
    folder.mkdir()
    with (folder / export.LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WrongFolder, match="another export"):
            run(folder)


def test_the_command_tells_what_it_did(give: Give, folder: Path, owner: User) -> None:
    given = give()
    give(consent=False)
    out = StringIO()
    call_command("export_feedback", str(folder), stdout=out)
    assert f"/{sha256_of(given)}.mp4" in out.getvalue()
    assert "1 new, 0 relabelled, 0 unchanged, 0 to be dropped, 0 pruned" in out.getvalue()
    assert "left out, no consent, or withdrawn: 1" in out.getvalue()
    feedback.withdraw_consent(user=owner, analysis=given.analysis)
    out = StringIO()
    call_command("export_feedback", str(folder), stdout=out)
    assert "to be dropped (consent withdrawn): dfdc_train_part_" in out.getvalue()
    call_command("export_feedback", str(folder), "--prune", stdout=out)
    assert "pruned: dfdc_train_part_" in out.getvalue()
    assert files_in(folder) == set()
    assert Analysis.objects.count() == 2
