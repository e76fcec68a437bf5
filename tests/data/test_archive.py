from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sparring.data import Problem, archive, open_data
from sparring.data.archive import Archive, safe_name
from sparring.data.images import OddImageError
from sparring.errors import DataError


def png(colour: object = (10, 20, 30), size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, members: dict[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def read(tmp_path):
    return lambda path, **options: open_data(path, cache_dir=tmp_path / "cache", **options)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_reads_as_its_folder_would(tmp_path, read, method):
    members = {"cat/1.png": png((1, 0, 0)), "ape/2.png": png((2, 0, 0)), "cat/bad.png": b"bad", "cat/a.txt": b"a"}
    packed = read(pack(tmp_path / "pets.zip", members, method))
    for name, content in members.items():
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pets" / name).write_bytes(content)
    plain = read(tmp_path / "pets")
    assert packed.sha256 == plain.sha256
    assert packed.name == plain.name == "pets"
    assert packed.class_names == plain.class_names == ("ape", "cat")
    assert packed.labels.tolist() == [0, 1]
    assert packed.problems == plain.problems
    assert len(packed.problems) == 2


def test_nothing_is_written_beside_the_archive(tmp_path, read, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pack(tmp_path / "x.zip", {"../../a.png": png((1, 0, 0)), "/etc/b.png": png((2, 0, 0))})
    assert len(read(path)) == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "x.zip"]


def test_one_folder_around_everything_is_no_class(tmp_path, read):
    path = pack(tmp_path / "x.zip", {"pets/cat/1.png": png(), "pets/dog/2.png": png(), "__MACOSX/pets/._1.png": b"x"})
    data = read(path)
    assert data.class_names == ("cat", "dog")
    assert data.problems == ()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b.png", "a/b.png"),
        ("../../etc/x.png", "etc/x.png"),
        ("/abs/x.png", "abs/x.png"),
        ("C:\\Users\\x.png", "Users/x.png"),
        ("..\\..\\x.png", "x.png"),
        ("\\\\host\\share\\x.png", "host/share/x.png"),
        ("a//./b/../x.png", "a/b/x.png"),
        ("tab\there\x1b[31m.png", "tab\\x09here\\x1b[31m.png"),
    ],
)
def test_names_lead_nowhere(name, safe):
    assert safe_name(name) == safe


def test_the_same_name_twice(tmp_path, read):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        warnings.simplefilter("ignore")
        for name, level in (("a.png", 1), ("b.png", 2), ("../a.png", 3), ("a.png", 4)):
            file.writestr(name, png((level, 0, 0)))
    data = read(tmp_path / "x.zip")
    assert data.samples[:, 0, 0, 0].tolist() == [1, 2]
    assert data.problems == (Problem("a.png", "the same name twice"),) * 2


def test_links_are_not_followed(tmp_path, read):
    link = zipfile.ZipInfo("link.png")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    data = read(pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), link: b"/etc/passwd"}))
    assert data.problems == (Problem("link.png", "a link"),)


def test_a_bomb_is_listed(tmp_path, read):
    bomb = zipfile.ZipInfo("bomb.png")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    data = read(pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), bomb: bytes(20_000_000)}))
    assert data.problems == (Problem("bomb.png", "unpacks to more than 100 times its size"),)


def lie_about_size(path: Path, name: str, size: int) -> None:
    """Change what the central directory says a member unpacks to."""
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    while content[place + 46 : place + 46 + len(name)] != name.encode():
        place = content.index(b"PK\x01\x02", place + 4)
    content[place + 24 : place + 28] = struct.pack("<I", size)
    path.write_bytes(content)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path, read, monkeypatch):
    path = pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), "bomb.png": bytes(20_000_000)})
    lie_about_size(path, "bomb.png", 500_000)
    data = read(path)
    assert len(data) == 2
    assert [problem.path for problem in data.problems] == ["bomb.png"]


def test_bytes_are_counted_as_they_come(tmp_path, monkeypatch):
    """Even if the directory were believed, unpacking stops soon after the limit."""
    path = pack(tmp_path / "x.zip", {"bomb.png": bytes(20_000_000)})
    store = Archive(path)
    entry = archive.Entry("bomb.png", 20_000_000, 0, 0)
    with pytest.raises(OddImageError, match="far more than an image would"):
        store.open(entry)
    store.close()


def test_a_damaged_member_is_listed(tmp_path, read):
    path = pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), "c.png": png((99, 0, 0))}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(png((99, 0, 0))) + 60] ^= 0xFF
    path.write_bytes(content)
    data = read(path)
    assert len(data) == 2
    assert data.problems[0].path == "c.png"
    assert data.problems[0].reason.startswith("damaged in the archive: Bad CRC-32")


def test_an_encrypted_member_is_listed(tmp_path, read):
    path = pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), "c.png": png()})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert read(path).problems == (Problem("c.png", "encrypted"),)


def test_an_unknown_compression_is_listed(tmp_path, read):
    path = pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), "c.png": png()})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 10] = 99
    path.write_bytes(content)
    problems = read(path).problems
    assert [problem.path for problem in problems] == ["c.png"]
    assert problems[0].reason.startswith("damaged in the archive")


def test_overlapping_members_are_refused(tmp_path, read):
    """The quoted overlap of CVE-2024-0450: many members that share their bytes."""
    path = pack(tmp_path / "x.zip", {f"{number}.png": png() for number in range(3)})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 42 : content.rindex(b"PK\x01\x02") + 46] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(DataError, match="overlap, as in a zip bomb"):
        read(path)


def test_too_many_members_and_too_many_bytes(tmp_path, read, monkeypatch):
    path = pack(tmp_path / "x.zip", {f"{number}.png": png() for number in range(5)})
    monkeypatch.setattr(archive, "MAX_MEMBERS", 4)
    with pytest.raises(DataError, match="has 5 members, more than 4"):
        read(path)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    assert len(read(path)) == 5
    monkeypatch.setattr(archive, "MAX_TOTAL", 5 * len(png()) - 1)
    with pytest.raises(DataError, match="would unpack to"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(10), png()])
def test_what_is_no_archive_is_refused(tmp_path, read, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"x.zip' cannot be read as a zip archive"):
        read(tmp_path / "x.zip")


def test_an_archive_in_an_archive_is_not_opened(tmp_path, read):
    inner = pack(tmp_path / "inner.zip", {"c.png": png()}).read_bytes()
    data = read(pack(tmp_path / "x.zip", {"a.png": png(), "b.png": png(), "inner.zip": inner}))
    assert data.problems == (Problem("*.zip", "1 file of a kind that is not read"),)


def test_an_archive_of_nothing(tmp_path, read):
    with pytest.raises(DataError, match="holds no image that can be read"):
        read(pack(tmp_path / "x.zip", {}))
