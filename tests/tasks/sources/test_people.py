"""Pictures of people: who is held out, what Market-1501's folder tells, and what is refused."""

from __future__ import annotations

from pathlib import Path

import crowds
import numpy as np
import pytest

from imu_lab.tasks.sources import people


def cameras_held_out(rows: list[crowds.Row], person: int = 1) -> list[int]:
    made = people.crowd(crowds.people([*rows, *((99, camera) for camera in (1, 2) for _ in range(3))]))
    return made.held_out.cameras[made.held_out.persons == person].tolist()


@pytest.mark.parametrize(
    "cameras, held_out",
    [
        ([1, 1, 1, 2, 2, 2], [1, 2]),  # a third of each
        ([1, 1, 1, 1, 1, 1, 2, 2], [1, 1, 2]),
        ([1, 1, 2], [1, 2]),  # the only picture of camera 2 goes, for one of camera 1 stays
        ([1, 2, 3], [2, 3]),
        ([1, 2], []),  # nothing would be left to train on
    ],
)
def test_held_out_pictures_come_from_two_cameras_and_leave_some(cameras: list[int], held_out: list[int]) -> None:
    assert sorted(cameras_held_out([(1, camera) for camera in cameras])) == held_out


def test_the_last_pictures_of_a_camera_are_held_out() -> None:
    known = crowds.people([(1, 1)] * 3 + [(1, 2)] * 3 + [(2, 1)] * 2 + [(2, 2)] * 2)
    known.pixels[:] = np.arange(10)[:, None, None, None]
    made = people.crowd(known)
    assert made.held_out.pixels[:, 0, 0, 0].tolist() == [2, 5, 7, 9]
    assert made.train.pixels[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6, 8]


def test_a_set_is_known_by_its_content() -> None:
    first, again, other = (crowds.people(crowds.KNOWN) for _ in range(3))
    other.pixels[0, 0, 0, 0] += 1
    keys = [people.crowd(each).key for each in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([(1, 1)] * 4, r"shows 1 person"),
        ([*crowds.KNOWN, (8, 1)], r"person 8 is without a second picture"),
        ([*crowds.KNOWN, (8, 1), (9, 2)], r"person 8, 9 are without a second picture"),
        ([*crowds.KNOWN, *((number, 1) for number in range(20, 28))], r"person 20, 21, 22, 23, 24 and 3 more are"),
        ([*crowds.KNOWN, (8, 1), (8, 1)], r"person 8 is without a second camera \(only 1\)"),
    ],
)
def test_people_who_cannot_be_measured_are_named(rows: list[crowds.Row], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        people.crowd(crowds.people(rows))


def test_a_folder_like_market_1501(tmp_path: Path) -> None:
    rows = [*crowds.KNOWN, (-1, 2), (0, 1)]  # junk and a passer-by are nobody to recognise
    made = people.market(str(crowds.folder(tmp_path, train=rows)), None)
    assert made.train.pixels.shape == (18, 16, 8, 3) and len(made.held_out) == 9
    assert np.unique(made.train.persons).tolist() == np.unique(made.held_out.persons).tolist() == [2, 7, 11]
    assert np.unique(made.held_out.cameras).tolist() == [1, 2, 3]
    query, gallery = made.strangers()
    assert query.persons.tolist() == [20, 21] and query.cameras.tolist() == [1, 2]
    assert sorted(gallery.persons.tolist()) == [0, 0, 20, 20, 21]  # passers-by stay, junk goes


def test_people_of_the_training_part_among_the_strangers_are_told_of(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path)
    picture = next((folder / "query").glob("0020*"))
    (folder / "bounding_box_test" / "0007_c2s1_000900_00.jpg").write_bytes(picture.read_bytes())
    with pytest.warns(UserWarning, match="person 7 is in bounding_box_train and in query or bounding_box_test"):
        people.market(str(folder))


def test_other_sizes_and_names(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path, size=(16, 8))
    (folder / "query" / "0020_c1s1_000000_00.jpg").rename(folder / "query" / "0020_c15_f0046182.png")
    made = people.market(str(folder), (12, 6))
    assert made.train.pixels.shape[1:] == (12, 6, 3)
    assert made.strangers()[0].cameras.tolist() == [15, 2]


def test_a_folder_that_changed_is_read_again_in_the_same_session(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path)
    before = people.market(str(folder))
    assert people.market(str(folder)) is before
    picture = next((folder / "bounding_box_train").glob("0007*"))
    picture.write_bytes(next((folder / "query").glob("0020*")).read_bytes())
    changed = people.market(str(folder))
    assert changed.key != before.key
    for each in (folder / "bounding_box_train").glob("0011*"):
        each.unlink()
    assert np.unique(people.market(str(folder)).train.persons).tolist() == [2, 7]


def test_hidden_files_are_nobody(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path)
    for part in people.PARTS:
        (folder / part / "._0002_c1s1_000000_00.jpg").write_bytes(b"what an archive leaves behind")
    assert len(people.market(str(folder)).train) == 18


@pytest.mark.parametrize("part", people.PARTS)
def test_a_folder_that_is_not_market_1501s(tmp_path: Path, part: str) -> None:
    (crowds.folder(tmp_path / "set") / part).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"no folder .*{part}; a set like Market-1501 holds") as raised:
        people.market(str(tmp_path / "set"))
    assert "figures" in str(raised.value)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        people.market(str(tmp_path / "nowhere"))


def test_names_that_tell_nothing(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path)
    (folder / "query" / "0020_c1s1_000000_00.jpg").rename(folder / "query" / "holiday.jpg")
    with pytest.raises(ValueError, match="'holiday.jpg', whose name tells no person and camera; names look like 0002"):
        people.market(str(folder))


def test_empty_parts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures of people in .*query"):
        people.market(str(crowds.folder(tmp_path / "one", query=[(-1, 1)])))
    with pytest.raises(ValueError, match="bounding_box_train holds passers-by"):
        people.market(str(crowds.folder(tmp_path / "two", train=[(0, 1), (0, 2), (-1, 3)])))


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    folder = crowds.folder(tmp_path)
    damaged = next((folder / "bounding_box_train").glob("0002*"))
    damaged.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=f"cannot read the picture .*{damaged.name}"):
        people.market(str(folder))


@pytest.mark.parametrize("given", [7, "7", "0007", (7,), [7], ["0007"], np.int64(7)])
def test_persons_are_numbers_however_they_are_written(given: object) -> None:
    assert people.numbered(given) == (7,)


def test_a_person_who_is_no_number() -> None:
    with pytest.raises(ValueError, match="persons are numbers, such as 7 or '0007'; got 'Ada'"):
        people.numbered("Ada")
