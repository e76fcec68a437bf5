from pathlib import Path

import numpy as np
import pytest

from sparring.data import open_data
from sparring.errors import DataError, UsageError

POINTS = np.array([[1.5, -2.0], [3.0, 4.25], [-1e-3, 0.0]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comma.csv", "1.5,-2.0\n3,4.25\n-1e-3,0\n"),
        ("header.csv", '\ufeffx,y\r\n"1.5","-2.0"\r\n3,4.25\r\n-0.001,0\r\n'),
        ("semicolon.CSV", "x; y\n1.5; -2\n3; 4.25\n-.001; 0"),
        ("names.csv", '"position x","position y"\n1.5,-2\n3,4.25\n-.001,0\n'),
        ("tabs.tsv", "1.5\t-2\n3\t4.25\n-1e-3\t0\n"),
        ("blanks.txt", "# two numbers a line\n\n  1.5  -2\n3 4.25\n\n-1e-3   0\n\n"),
    ],
)
def test_a_table_is_points(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    data = open_data(tmp_path / name)
    assert (data.name, data.shape) == (Path(name).stem, (2,))
    assert np.array_equal(data.samples, POINTS.astype(np.float32))
    assert data.sha256 == open_data(POINTS).sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,2,3\n4,5,6\n", "line 1: 3 columns; a table of points has two, x and y"),
        (b"1,2\n\n3,,4\n", "line 3: 3 columns"),
        (b"1,5;2,5\n", "line 1: 4 columns"),
        (b"1\n2\n", "line 1: 1 columns"),
        (b"x,y\n1,2\nx,y\n3,4\n", "line 3: 'x,y' is not two numbers"),
        (b"1,2\n3,four\n", "line 2: '3,four' is not two numbers"),
        (b"one,2\n3,4\n", "line 1: 'one,2' is not two numbers"),
        (b"", "'points' holds 0 samples; training needs at least 2"),
        (b"x,y\n1,2\n", "'points' holds 1 samples"),
        (b"\xff\xfe1\x00", "is not text"),
    ],
)
def test_what_is_no_table_of_points_is_told_by_its_line(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / "points.csv")


@pytest.mark.parametrize("text", ["1,2\n3,nan\n", "1,2\n3,1e39\n"])
def test_points_that_float32_cannot_hold_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(UsageError, match="values that are not finite in float32"):
        open_data(tmp_path / "points.csv")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4),
        np.linspace(-1, 1, 32).reshape(2, 4, 4),
        POINTS,
        np.array([[1, 2], [3, 4]]),
    ],
)
def test_an_array_in_a_file_is_the_array(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", array)
    data, given = open_data(str(tmp_path / "mine.npy")), open_data(array)
    assert data.name == "mine"
    assert data.sha256 == given.sha256


def test_its_size_and_channels_can_be_chosen(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.zeros((2, 8, 8, 3), np.uint8))
    assert open_data(tmp_path / "mine.npy", resolution=4, channels=1).shape == (1, 4, 4)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00", "cut off", "objects", "zip", "too large"])
def test_what_is_no_array_is_refused(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    if content == "objects":
        np.save(path, np.array([{}, {}]), allow_pickle=True)
    elif content == "zip":
        with path.open("wb") as file:
            np.savez(file, x=POINTS)
    elif content == "too large":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**50, 2)})
    elif content == "cut off":
        np.save(path, POINTS)
        path.write_bytes(path.read_bytes()[:-8])
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"mine.npy' is not an array of numbers as numpy.save writes them: "):
        open_data(path)
