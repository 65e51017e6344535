"""People are followed through a clip, and what is no lasting face is dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.contracts import Box, FaceDetection
from ml.faces.tracks import Sighting, find_people, find_people_in_photo, link, looks_of, needed_faces

RED, BLUE, GREEN = 0, 1, 2


def looks(colour: int) -> NDArray[np.float32]:
    vector = np.zeros(512, dtype=np.float32)
    vector[colour] = 1
    return vector


def sighting(position: int, x: int, *, colour: int = RED, size: int = 100, probability: float = 0.999) -> Sighting:
    return Sighting(position, FaceDetection(Box(x, 50, x + size * 4 // 5, 50 + size), probability), looks(colour))


def test_two_still_people_are_two_tracks() -> None:
    frames = [[sighting(i, 100), sighting(i, 400)] for i in range(32)]

    people = find_people(frames)

    assert [[seen.detection.box.x1 for seen in track.sightings] for track in people.tracks] == [[100] * 32, [400] * 32]


def test_the_order_of_the_detections_does_not_matter() -> None:
    frames = [[sighting(i, 100), sighting(i, 400)][:: 1 if i % 2 else -1] for i in range(32)]

    assert [len(track.sightings) for track in find_people(frames).tracks] == [32, 32]


def test_a_person_who_walks_stays_one_track() -> None:
    frames = [[sighting(i, 20 * i)] for i in range(32)]

    assert len(find_people(frames).tracks) == 1


def test_a_person_who_looks_away_for_a_moment_stays_one_track() -> None:
    frames = [[] if 10 <= i < 13 else [sighting(i, 100)] for i in range(32)]

    people = find_people(frames)

    assert [len(track.sightings) for track in people.tracks] == [29]


def test_people_who_cross_are_told_apart_by_their_looks() -> None:
    frames = [[sighting(i, 100 + 20 * i, colour=RED), sighting(i, 740 - 20 * i, colour=BLUE)] for i in range(32)]

    tracks = find_people(frames).tracks

    assert sorted(len(track.sightings) for track in tracks) == [32, 32]
    assert all(len({int(seen.looks.argmax()) for seen in track.sightings}) == 1 for track in tracks)


def test_another_face_at_the_same_place_after_a_cut_is_another_person() -> None:
    frames = [[sighting(i, 100, colour=RED if i < 16 else BLUE)] for i in range(32)]

    assert [len(track.sightings) for track in find_people(frames).tracks] == [16, 16]


def test_a_close_up_after_a_cut_is_not_linked_by_place() -> None:
    frames = [[sighting(i, 100, size=60 if i < 16 else 200)] for i in range(32)]

    assert len(link(frames)) == 2


def test_fragments_of_one_person_are_joined_by_their_looks() -> None:
    places = [100, 900, 100, 1700]
    frames = [[sighting(i, places[i // 2])] if i < 8 else [] for i in range(32)]

    people = find_people(frames)

    assert [len(track.sightings) for track in people.tracks] == [8]


def test_a_person_seen_from_afar_before_a_cut_to_a_close_up_is_one() -> None:
    frames = [[sighting(i, 700, size=45)] if i < 4 else [sighting(i, 100, size=110)] for i in range(32)]

    assert [len(track.sightings) for track in find_people(frames).tracks] == [32]


def test_people_who_look_less_alike_are_not_joined_across_a_cut() -> None:
    mixed = looks(RED) * np.sqrt(0.95, dtype=np.float32) + looks(BLUE) * np.sqrt(0.05, dtype=np.float32)
    other = [replace(sighting(i, 700), looks=mixed) for i in range(4)]
    frames = [[other[i]] if i < 4 else [sighting(i, 100)] for i in range(32)]

    assert [len(track.sightings) for track in find_people(frames).tracks] == [4, 28]


def test_two_faces_of_one_frame_are_never_one_person() -> None:
    frames = [[sighting(i, 100), sighting(i, 300)] if i < 2 else [] for i in range(5)]

    for track in find_people(frames).tracks:
        assert len(track.positions) == len(track.sightings)


def test_a_face_that_does_not_stay_is_dropped() -> None:
    frames = [[sighting(i, 100)] if i < 2 else [] for i in range(32)]

    people = find_people(frames)

    assert (people.tracks, people.too_small, people.fleeting) == ([], [], 2)


def test_what_the_face_detector_doubts_is_dropped() -> None:
    frames = [[sighting(i, 100, probability=0.93 + 0.001 * i)] for i in range(32)]

    assert find_people(frames).tracks == []


def test_a_face_often_hidden_by_hands_is_kept() -> None:
    frames = [[sighting(i, 100, probability=0.999 if i % 2 else 0.88)] for i in range(32)]

    assert len(find_people(frames).tracks) == 1


def test_small_faces_are_told_apart_from_none() -> None:
    frames = [[sighting(i, 100, size=31)] for i in range(32)]

    people = find_people(frames)

    assert (len(people.tracks), len(people.too_small)) == (0, 1)


def test_small_and_doubtful_is_no_face() -> None:
    frames = [[sighting(i, 100, size=31, probability=0.975)] for i in range(32)]

    people = find_people(frames)

    assert (people.tracks, people.too_small) == ([], [])


@pytest.mark.parametrize(("sampled", "needed"), [(1, 1), (3, 1), (4, 2), (8, 3), (9, 3), (32, 3), (100, 8)])
def test_how_long_a_face_must_stay(sampled: int, needed: int) -> None:
    assert needed_faces(sampled) == needed


@pytest.mark.parametrize(("probability", "people"), [(0.99, 1), (0.97, 0)])
def test_a_single_frame_counts_if_the_face_is_certain(probability: float, people: int) -> None:
    assert len(find_people([[sighting(0, 100, probability=probability)]]).tracks) == people


def test_no_frames_hold_nobody() -> None:
    assert find_people([]).tracks == []
    assert find_people([[], []]).tracks == []


def test_each_certain_face_of_a_photo_is_a_person_from_left_to_right() -> None:
    people = find_people_in_photo(
        [
            sighting(0, 500),
            sighting(0, 100, probability=0.96),
            sighting(0, 300, probability=0.9),
            sighting(0, 0, size=20),
        ]
    )

    assert [track.sightings[0].detection.box.x1 for track in people.tracks] == [100, 500]
    assert len(people.too_small) == 1


def test_looks_are_the_colours_of_the_face() -> None:
    frame = np.zeros((100, 200, 3), dtype=np.uint8)
    frame[:, 100:] = (200, 150, 120)
    left, right = (FaceDetection(Box(x, 10, x + 60, 90), 1.0) for x in (10, 120))

    assert looks_of(frame, left) @ looks_of(frame, left) == pytest.approx(1)
    assert looks_of(frame, left) @ looks_of(frame, right) == pytest.approx(0)


def test_a_box_beyond_the_frame_has_looks_too() -> None:
    frame = np.full((50, 50, 3), 90, dtype=np.uint8)

    assert looks_of(frame, FaceDetection(Box(-10, -10, 20, 60), 1.0)).sum() == pytest.approx(1)
    assert looks_of(frame, FaceDetection(Box(60, 60, 90, 90), 1.0)).sum() == 0
