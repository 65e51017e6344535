from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml.training.commands import DEFAULT_CONFIG
from ml.training.config import TrainingConfig
from ml.training.evaluate import Evaluation, evaluate
from ml.training.robustness import Harm, Recoding
from ml.training.scoring import FileScore, find_labelled
from ml.training.summary import as_text, pool_groups, published_floor, read_floor, summarise
from tests.media_factory import make_face_image, make_face_video, make_image, portrait
from tests.tiny_detector import write_tiny_detector

SCORES: dict[str, float | None] = {
    "videos/c40/real/original/a.mp4": 0.1,
    "videos/c40/real/original/b.mp4": 0.5,
    "videos/c40/real/original/c.mp4": 0.8,
    "videos/c40/fake/Swap/a.mp4": 0.9,
    "videos/c40/fake/Swap/b.mp4": 0.6,
    "videos/c40/fake/Mouth/a.mp4": None,
    "videos/c40/fake/Eyes/a.mp4": 0.05,
    "videos/c23/real/original/a.mp4": 0.2,
    "videos/c23/fake/Swap/a.mp4": 0.7,
    "images/real/a.jpg": 0.2,
    "images/fake/a.jpg": 0.3,
}


def file_score(name: str, probability: float | None, outcome: str = "") -> FileScore:
    parts = name.split("/")
    label_at = next(place for place, part in enumerate(parts) if part in {"real", "fake"})
    if not outcome:
        outcome = "NOT_ASSESSABLE"
        if probability is not None:
            outcome = "FAKE" if probability >= 0.7 else "REAL" if probability <= 0.3 else "INCONCLUSIVE"
    return FileScore(
        path=name,
        label=parts[label_at],
        group="/".join(parts[:label_at]),
        method="/".join(parts[label_at + 1 : -1]),
        sha256=name,
        outcome=outcome,
        fake_probability=probability,
        pooled_probability=probability,
        faces=() if probability is None else (probability, min(probability + 0.1, 1.0)),
        kind="image" if "images" in name else "video",
    )


SCORED = [
    *(file_score(name, score) for name, score in SCORES.items()),
    file_score("videos/c40/real/original/broken.mp4", None, "error:unreadable_media"),
]


def test_labels_groups_and_methods_come_from_the_folders(tmp_path: Path) -> None:
    for name in (*SCORES, "notes.txt", "videos/c40/real/original/.hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = {file.path.relative_to(tmp_path).as_posix(): file for file in find_labelled(tmp_path)}
    assert set(files) == set(SCORES)
    swap = files["videos/c40/fake/Swap/a.mp4"]
    assert (swap.label, swap.group, swap.method) == ("fake", "videos/c40", "Swap")
    assert (files["images/real/a.jpg"].group, files["images/real/a.jpg"].method) == ("images", "")


def test_an_unlabelled_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(FileNotFoundError, match="nothing labelled"):
        find_labelled(tmp_path)


def test_a_file_that_cannot_be_judged_is_counted_and_never_scored() -> None:
    c40 = summarise(SCORED, frame_threshold=0.5, seed=1, draws=50)["videos/c40"]
    swap = c40["by_file"]["Swap"]
    assert swap["auc"]["value"] == pytest.approx(5 / 6)
    assert (swap["fakes"], swap["reals"]) == (2, 3)
    assert "Mouth" not in c40["by_file"]
    assert c40["verdicts"]["fake"]["Mouth"] == {"NOT_ASSESSABLE": 1}
    assert c40["verdicts"]["real"] == {"FAKE": 1, "INCONCLUSIVE": 1, "REAL": 1, "error:unreadable_media": 1}
    # Of those judged; abstentions of those that could be read.
    rates = c40["rates"]
    assert (rates["false_alarms"]["count"], rates["false_alarms"]["total"]) == (1, 3)
    assert (rates["misses"]["all"]["count"], rates["misses"]["all"]["total"]) == (1, 3)
    assert (rates["abstentions_fake"]["all"]["count"], rates["abstentions_fake"]["all"]["total"]) == (2, 4)
    assert (rates["abstentions_real"]["count"], rates["abstentions_real"]["total"]) == (1, 3)
    assert rates["misses"]["Mouth"] is None
    assert c40["errors"] == ["videos/c40/real/original/broken.mp4: error:unreadable_media"]


def test_false_alarms_and_misses_are_named() -> None:
    videos = summarise(SCORED, frame_threshold=0.5, seed=1, draws=50)["videos"]
    assert videos["false_alarms"] == ["videos/c40/real/original/c.mp4"]
    assert videos["misses"] == ["videos/c40/fake/Eyes/a.mp4"]


def test_faces_are_judged_at_the_threshold_for_faces_and_drawn_by_video() -> None:
    c40 = summarise(SCORED, frame_threshold=0.55, seed=1, draws=50)["videos/c40"]
    alarms = c40["face_rates"]["false_alarms"]
    # Faces of the reals: .1 .2 .5 .6 .8 .9, so three of six lie above.
    assert (alarms["count"], alarms["total"]) == (3, 6)
    assert c40["face_rates"]["misses"]["Mouth"] is None
    row = c40["by_face"]["Swap"]
    assert (row["fake_faces"], row["real_faces"], row["fakes"], row["reals"]) == (4, 6, 2, 3)


def test_the_mean_over_methods_and_thresholds_chosen_without_a_method() -> None:
    c40 = summarise(SCORED, frame_threshold=0.5, seed=1, draws=50)["videos/c40"]
    # Swap 5/6, Eyes 0.
    assert c40["mean_over_methods"]["auc"]["value"] == pytest.approx(5 / 12)
    rows = {row["method"]: row for row in c40["leave_one_method_out"]}
    assert set(rows) == {"Swap", "Eyes"}
    # Chosen on Swap, where from .7 on one of two fakes is missed and one of three reals called fake.
    assert rows["Eyes"]["threshold"] == pytest.approx(0.7)
    assert (rows["Eyes"]["found"]["count"], rows["Eyes"]["false_alarms"]["count"]) == (0, 1)
    assert rows["Eyes"]["auc"] == 0.0
    assert rows["Eyes"]["auc_of_others"] == pytest.approx(5 / 6)


def test_groups_are_pooled_by_kind_and_by_wish() -> None:
    pools = {"strong": ["*c40*"], "all videos": ["videos"], "two": ["videos/c23", "images"]}
    sizes = {name: len(members) for name, members in pool_groups(SCORED, pools).items()}
    assert sizes == {
        "images": 2, "videos": 10, "videos/c23": 2, "videos/c40": 8, "strong": 8, "all videos": 10, "two": 4
    }  # fmt: skip
    with pytest.raises(ValueError, match="no group is called"):
        pool_groups(SCORED, {"misspelt": ["vidoes"]})
    with pytest.raises(ValueError, match="already"):
        pool_groups(SCORED, {"images": ["videos"]})


def test_another_group_or_method_does_not_touch_a_groups_figures() -> None:
    alone = [score for score in SCORED if score.group == "videos/c40" and score.method != "Eyes"]
    with_others = summarise(SCORED, frame_threshold=0.5, seed=1, draws=50)["videos/c40"]
    by_itself = summarise(alone, frame_threshold=0.5, seed=1, draws=50)["videos/c40"]
    assert with_others["by_file"]["Swap"] == by_itself["by_file"]["Swap"]
    assert with_others["face_rates"]["false_alarms"] == by_itself["face_rates"]["false_alarms"]


def test_the_text_tells_figures_false_alarms_and_the_published_floor() -> None:
    text = as_text(summarise(SCORED, frame_threshold=0.5, seed=1, draws=50))
    assert "reals called fake: 1 of 3 (33.3%, exact 95 % interval 0.8% to 90.6%)" in text
    assert "false alarm: videos/c40/real/original/c.mp4" in text
    assert "not measured by this command" in text
    assert published_floor("videos/ffpp_c40", "Deepfakes") == 0.81
    assert published_floor("videos/ffpp_c23", "Deepfakes") is None
    assert all(0 < figure["auc"] < 1 for figure in read_floor()["figures"])


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real and “fake” clips and photos of one face: told apart by nothing that a detector could know."""
    root = tmp_path_factory.mktemp("labelled")
    for folder in ("videos/real", "videos/fake/Swap", "images/real", "images/fake"):
        (root / folder).mkdir(parents=True)
    for number, zoom in enumerate((0.8, 1.1)):
        make_face_video(root / f"videos/real/{number}.mp4", count=8, zoom=zoom)
        make_face_video(root / f"videos/fake/Swap/{number}.mp4", count=8, zoom=zoom + 0.1)
    make_face_image(root / "images/real/a.jpg", quality=95)
    make_image(root / "images/real/nobody.jpg")
    make_image(root / "images/fake/b.jpg", picture=portrait()[:, ::-1], quality=80)
    (root / "images/fake/broken.jpg").write_bytes(b"\xff\xd8\xff")
    return root


@pytest.mark.slow
@pytest.mark.long
def test_measuring_twice_gives_the_same_and_a_cache_changes_nothing(media: Path, tmp_path: Path) -> None:
    write_tiny_detector(tmp_path)
    plain = Evaluation(media, "tiny-test", search=(tmp_path,), draws=100)
    cached = Evaluation(media, "tiny-test", search=(tmp_path,), draws=100, cache_folder=tmp_path / "scores")
    first, second = evaluate(plain), evaluate(plain)
    assert rounded(first.report) == rounded(second.report)
    assert first.error_rates == second.error_rates
    filled, read_back = evaluate(cached), evaluate(cached)
    assert rounded(filled.report) == rounded(first.report) == rounded(read_back.report)
    by_path = {score["path"]: score for score in first.report["scores"]}
    assert by_path["images/fake/broken.jpg"]["outcome"] == "error:unreadable_media"
    assert by_path["images/real/nobody.jpg"]["outcome"] == "NOT_ASSESSABLE"
    assert json.dumps(filled.report) == json.dumps(read_back.report)


@pytest.mark.slow
@pytest.mark.long
def test_processes_beside_each_other_give_the_same(media: Path, tmp_path: Path) -> None:
    write_tiny_detector(tmp_path)
    alone = evaluate(Evaluation(media, "tiny-test", search=(tmp_path,), draws=50))
    together = evaluate(Evaluation(media, "tiny-test", search=(tmp_path,), draws=50, workers=2))
    assert rounded(alone.report) == rounded(together.report)


@pytest.mark.slow
def test_worse_copies_are_measured_beside_the_media_as_it_is(media: Path, tmp_path: Path) -> None:
    write_tiny_detector(tmp_path)
    recodings = (Recoding(Harm.CRF, 35), Recoding(Harm.JPEG_QUALITY, 30), Recoding(Harm.FACE_SIZE, 60))
    report = evaluate(
        Evaluation(media, "tiny-test", search=(tmp_path,), draws=50, recodings=recodings, pools={"all": ["*"]})
    ).report
    rows = {(row["harm"], row["value"], row["group"]): row for row in report["robustness"]}
    assert set(rows) == {
        ("crf", None, "videos"), ("crf", 35, "videos"), ("crf", None, "all"), ("crf", 35, "all"),
        ("jpeg_quality", None, "images"), ("jpeg_quality", 30, "images"),
        ("jpeg_quality", None, "all"), ("jpeg_quality", 30, "all"),
        ("face_size", None, "images"), ("face_size", 60, "images"),
        ("face_size", None, "videos"), ("face_size", 60, "videos"),
        ("face_size", None, "all"), ("face_size", 60, "all"),
    }  # fmt: skip
    assert rows["crf", None, "videos"]["auc"]["value"] == report["groups"]["videos"]["by_file"]["all"]["auc"]["value"]
    assert (rows["crf", 35, "videos"]["changed"], rows["crf", None, "videos"]["changed"]) == (4, 0)
    # Photos don't belong on the curve over CRF.
    assert rows["crf", 35, "all"]["files"] == 4
    assert rows["face_size", 60, "all"]["changed"] == 6


def rounded(value: object) -> object:
    """Figures to four digits, by which two measurements are to agree."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def test_the_default_configuration_is_whole_and_misspellings_are_refused() -> None:
    config = TrainingConfig.load(DEFAULT_CONFIG)
    assert config.name == "sentinel-lite"
    assert sum(config.kind_shares.values()) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="learnin_rate"):
        TrainingConfig.from_dict({"learnin_rate": 1.0})
