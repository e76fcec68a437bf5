from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring.data import Problem, open_data
from sparring.data.folder import choose_held_out, classes_of, make_plan
from sparring.data.images import Header, Wishes
from sparring.data.listing import Entry
from sparring.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def put(path: Path, colour: object = (200, 30, 60), size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, "PNG")
    return path


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return `open_data` with a cache of the test's own."""

    def open_folder(folder, **options):
        return open_data(folder, cache_dir=tmp_path / "cache", **options)

    return open_folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with two good images, a.png and b.png, of 8×8 pixels."""
    put(tmp_path / "pictures" / "a.png", (10, 20, 30))
    put(tmp_path / "pictures" / "b.png", (40, 50, 60))
    return tmp_path / "pictures"


def test_a_plain_folder(folder, read):
    data = read(folder)
    assert data.name == "pictures"
    assert data.samples.shape == (2, 3, 8, 8)
    assert data.samples[:, :, 0, 0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert (data.labels, data.class_names, data.num_classes) == (None, (), 0)
    assert (data.held_out, data.judge, data.modes, data.problems) == (None, None, None, ())
    assert read(str(folder)).sha256 == data.sha256


def test_order_is_by_name_whatever_the_file_system_says(tmp_path, read):
    for number in (5, 3, 9, 1, 7):
        put(tmp_path / "x" / f"sub{number % 2}" / f"{number}.png", (number, 0, 0))
    assert read(tmp_path / "x").samples[:, 0, 0, 0].tolist() == [1, 3, 5, 7, 9]


def test_sizes_that_differ_become_64(folder, read):
    put(folder / "c.png", size=(100, 80))
    assert read(folder).shape == (3, 64, 64)
    assert read(folder, resolution=16).shape == (3, 16, 16)


def test_one_size_that_is_not_square_becomes_64(tmp_path, read):
    put(tmp_path / "x" / "a.png", size=(8, 9))
    put(tmp_path / "x" / "b.png", size=(8, 9))
    assert read(tmp_path / "x").shape == (3, 64, 64)


def test_grey_in_content_is_one_channel(folder, read):
    grey = folder.parent / "grey"
    put(grey / "a.png", (7, 7, 7))
    put(grey / "b.png", 9, mode="L")
    data = read(grey)
    assert data.samples[:, :, 0, 0].tolist() == [[7], [9]]
    assert read(grey, channels=3).samples[:, :, 0, 0].tolist() == [[7, 7, 7], [9, 9, 9]]
    put(grey / "c.png", (7, 7, 8))
    assert read(grey).shape[0] == 3
    assert read(folder, channels=1).shape[0] == 1


def test_grey_on_a_coloured_ground_is_colour(tmp_path, read):
    for name in "ab":
        put(tmp_path / "x" / f"{name}.png", (100, 0), mode="LA")
    assert read(tmp_path / "x").shape == (1, 8, 8)
    assert read(tmp_path / "x", background="red").samples[0, :, 0, 0].tolist() == [255, 0, 0]


def test_first_level_folders_are_classes(tmp_path, read):
    root = tmp_path / "x"
    for name in ("cat/1.png", "cat/deep/2.png", "ape/3.png", "dog/4.png"):
        put(root / name)
    (root / "empty").mkdir()
    (root / "dog" / "bad.png").write_bytes(b"bad")
    data = read(root)
    assert data.class_names == ("ape", "cat", "dog")
    assert data.labels.tolist() == [0, 1, 1, 2]
    assert data.labels.dtype == np.int64
    put(root / "stray.png")
    assert read(root).labels is None


@pytest.mark.parametrize(
    ("names", "classes"),
    [(["a/1", "b/2"], ("a", "b")), (["a/1", "a/2"], ()), (["a/1", "2"], ()), (["1", "2"], ()), ([], ())],
)
def test_classes_need_two_folders_and_no_stray(names, classes):
    assert classes_of(names) == classes


def test_held_out_is_a_tenth_that_stays(tmp_path, read):
    root = tmp_path / "x"
    for number in range(50):
        put(root / "ab"[number % 2] / f"{number:02}.png", (number, 0, 0))
    data = read(root)
    kept = set(data.held_out.samples[:, 0, 0, 0].tolist())
    assert (len(data), len(kept)) == (45, 5)
    assert kept | set(data.samples[:, 0, 0, 0].tolist()) == set(range(50))
    assert (data.held_out.labels == data.held_out.samples[:, 0, 0, 0] % 2).all()
    assert data.held_out.class_names == data.class_names == ("a", "b")
    for number in range(50, 56):
        put(root / "a" / f"{number:02}.png", (number, 0, 0))
    assert len(kept & set(read(root).held_out.samples[:, 0, 0, 0].tolist())) >= 4
    (root / "a" / "00.png").unlink()
    for number in range(48, 56):
        (root / "ab"[number % 2 if number < 50 else 0] / f"{number:02}.png").unlink()
    assert read(root).held_out is None


def test_at_most_two_thousand_are_held_out():
    entries = [Entry(f"{number}.png", 1, 1, "") for number in range(30_000)]
    assert len(choose_held_out(entries)) == 2000
    assert choose_held_out(entries) == choose_held_out(reversed(entries))


def test_a_bad_file_is_listed_and_the_rest_is_used(folder, read):
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    whole = (folder / "a.png").read_bytes()
    pixels = np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:150])
    (folder / "no suffix").write_bytes(whole)
    (folder / "README").write_text("words")
    (folder / "notes.txt").write_text("words")
    (folder / "more.txt").write_text("words")
    data = read(folder)
    assert len(data) == 3
    problems = {problem.path: problem.reason for problem in data.problems}
    assert list(problems) == sorted(["*.txt", "README", "cut.png", "empty.png", "text.png"])
    assert problems["*.txt"] == "2 files of a kind that is not read"
    assert problems["empty.png"] == "empty file"
    assert problems["text.png"].startswith("not an image in one of the formats")
    assert "truncated" in problems["cut.png"].lower()
    assert [problem.path for problem in read(folder).problems] == list(problems)  # from the cache, too


def test_the_droppings_of_systems_are_passed_over(folder, read):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png", "._a.png"):
        (folder / name).write_bytes(b"x")
    put(folder / "__MACOSX" / "a.png")
    put(folder / ".git" / "a.png")
    (folder / ".git" / "bad.png").mkdir()
    data = read(folder)
    assert len(data) == 2
    assert data.problems == ()


def test_a_folder_with_the_name_of_an_image(folder, read):
    put(folder / "x.png" / "c.png")
    data = read(folder)
    assert len(data) == 3
    assert data.problems == (Problem("x.png", "a folder with the name of an image"),)


def test_links(folder, read, tmp_path):
    elsewhere = put(tmp_path / "elsewhere" / "c.png", (70, 80, 90))
    try:
        (folder / "file link.png").symlink_to(elsewhere)
        (folder / "folder link").symlink_to(elsewhere.parent)
        (folder / "loop").symlink_to(folder)
        (folder / "nothing.png").symlink_to(tmp_path / "nothing")
        (folder / "self.png").symlink_to(folder / "self.png")
    except OSError:
        pytest.skip("links cannot be made here")
    data = read(folder)
    assert len(data) == 4
    problems = {problem.path: problem.reason for problem in data.problems}
    assert problems["loop"] == "a link to a folder that is already read"
    assert problems["nothing.png"] == "cannot be read: No such file or directory"
    assert problems["self.png"].startswith("cannot be read: ")
    assert len(problems) == 3


def test_a_linked_folder_keeps_its_real_name(folder, read):
    for name in "mz":
        put(folder / name / f"{name}.png")
    try:
        for link, target in (("a", "m"), ("z/link", "m"), ("m/link", "z")):
            (folder / link).symlink_to(folder / target)
    except OSError:
        pytest.skip("links cannot be made here")
    data = read(folder)
    assert len(data) == 4
    assert [problem.path for problem in data.problems] == ["a", "m/link", "z/link"]


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
@pytest.mark.timeout(20)
def test_a_fifo_is_not_waited_for(folder, read):
    os.mkfifo(folder / "pipe.png")
    data = read(folder)
    assert len(data) == 2
    assert data.problems == (Problem("pipe.png", "neither a file nor a folder"),)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_names_that_are_not_text(folder, read):
    raw = os.path.join(os.fsencode(folder), b"caf\xe9.png")
    with open(raw, "wb") as file:
        file.write((folder / "a.png").read_bytes())
    with open(os.path.join(os.fsencode(folder), b"bad\xff.png"), "wb") as file:
        file.write(b"bad")
    data = read(folder)
    assert len(data) == 3
    assert [problem.path for problem in data.problems] == ["bad\\xff.png"]
    assert read(folder).problems == data.problems
    data.problems[0].path.encode("utf-8")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not hold for root")
def test_what_may_not_be_read(folder, read):
    put(folder / "locked.png").chmod(0)
    (folder / "closed").mkdir(mode=0)
    problems = {problem.path: problem.reason for problem in read(folder).problems}
    (folder / "closed").chmod(0o700)
    assert problems == {
        "locked.png": "cannot be read: Permission denied",
        "closed": "cannot be listed: Permission denied",
    }


def test_a_file_that_vanishes_is_listed(folder, read, monkeypatch):
    from sparring.data.folder import Folder

    listing = Folder.listing

    def vanish(self):
        found = listing(self)
        (folder / "c.png").unlink()
        return found

    put(folder / "c.png")
    monkeypatch.setattr(Folder, "listing", vanish)
    data = read(folder)
    assert len(data) == 2
    assert data.problems == (Problem("c.png", "cannot be read: No such file or directory"),)


def test_a_line_is_listed_a_dot_is_used(folder, read):
    put(folder / "line.png", size=(20000, 1))
    put(folder / "dot.png", size=(1, 1))
    data = read(folder)
    assert len(data) == 3
    assert [problem.path for problem in data.problems] == ["line.png"]
    assert "--fit pad" in data.problems[0].reason
    assert len(read(folder, fit="pad")) == 4


def test_a_bomb_is_listed(folder, read):
    Image.new("1", (8001, 8000)).save(folder / "bomb.png")
    data = read(folder)
    assert len(data) == 2
    assert data.problems == (Problem("bomb.png", "8001×8000 is more than 64 million pixels"),)


def test_an_empty_folder(tmp_path, read):
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError) as caught:
        read(tmp_path / "x")
    assert str(caught.value) == (
        f"data: '{tmp_path / 'x'}' holds no image that can be read (it is empty); training needs at least 2, in one "
        f"of PNG, JPEG, WEBP, BMP, TIFF, GIF."
    )


def test_a_folder_without_a_readable_image(tmp_path, read):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(b"bad")
    for name in ("b.txt", "c.txt"):
        (tmp_path / "x" / name).write_bytes(b"words")
    with pytest.raises(
        DataError, match=r"no image that can be read \(3 left out, the first: \*.txt: 2 files of a kind"
    ):
        read(tmp_path / "x")


def test_one_image_is_not_enough(tmp_path, read):
    put(tmp_path / "x" / "a.png")
    (tmp_path / "x" / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds one readable image \(1 left out, the first: b.png: empty file\)"):
        read(tmp_path / "x")


def test_float_images_share_one_range(tmp_path, read):
    (tmp_path / "x").mkdir()
    for name, value in (("a", 0.0), ("b", 50.0), ("c", 100.0)):
        Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / "x" / f"{name}.tif")
    assert read(tmp_path / "x").samples[:, 0, 0, 0].tolist() == [0, 128, 255]


def test_a_plan_follows_wishes_and_headers():
    wishes = Wishes(None, None, "crop", (255, 255, 255))
    grey, colour = Header((8, 8), True, -1.0, 4.0), Header((8, 8), False)
    assert (make_plan([grey, grey], wishes).channels, make_plan([grey, colour], wishes).channels) == (1, 3)
    assert make_plan([grey, Header((8, 8), True, 0.0, 9.0)], wishes).low == -1
    assert make_plan([grey, Header((8, 8), True, 0.0, 9.0)], wishes).high == 9
    assert make_plan([Header((5000, 5000), True)], wishes).side == 64
    assert make_plan([grey], Wishes(32, 3, "pad", (1, 2, 3))).side == 32


def test_warnings_of_pillow_do_not_reach_the_user(folder, read):
    """Pillow warns of damaged EXIF; under pytest's settings a warning would be an error."""
    image = Image.new("RGB", (8, 8))
    image.save(folder / "c.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\x00" * 30)
    assert len(read(folder)) == 3


def test_torch_is_not_needed_to_read(folder, tmp_path):
    code = (
        "import sys; from sparring.data import open_data; open_data(sys.argv[1], cache_dir=sys.argv[2]);"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "cache")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.skipif(not (SHARED / "emoji").is_dir(), reason="the emoji are not beside the repository")
def test_real_emoji(read, tmp_path):
    root = tmp_path / "emoji"
    root.mkdir()
    for path in sorted((SHARED / "emoji" / "google").iterdir())[:300]:
        (root / path.name).write_bytes(path.read_bytes())
    data = read(root)
    assert data.shape == (3, 64, 64)
    assert (len(data), len(data.held_out), data.problems) == (270, 30, ())
    assert (data.samples[:, :, 0, 0] == 255).mean() > 0.8  # corners are transparent: white, not a hidden black
    assert (read(root, background="black").samples[:, :, 0, 0] == 0).mean() > 0.8
