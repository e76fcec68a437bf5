"""What labelled synthetic images are worth, by the folders that a user has: their own labels, matched by the names of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sparring.cli import main
from sparring.data import open_data
from sparring.errors import UsageError
from sparring.evaluation import evaluate
from sparring.metrics import classification
from sparring.metrics.protocol import Protocol
from sparring.pictures import to_images
from sparring.scores import Score

STEPS = 60


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classifiers of so many steps that they learn three digits."""
    for name in ("augmentation_gain", "classification_accuracy"):
        monkeypatch.setitem(getattr(classification, name).__kwdefaults__, "steps", STEPS)


def write_classes(folder: Path, first: int, each: int, swap: bool = False) -> Path:
    """Write digits 0, 1 and 7 into a folder a class; swapped, those of 0 and 1 lie in each other's."""
    data = open_data("digits")
    assert data.labels is not None
    for digit in (0, 1, 7):
        place = folder / str(1 - digit if swap and digit < 7 else digit)
        place.mkdir(parents=True)
        rows = np.nonzero(data.labels == digit)[0][first : first + each]
        for index, picture in enumerate(to_images(data.batch(rows)[0])):
            picture.save(place / f"{index:03}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("classes")
    return {
        "few": write_classes(base / "few", 0, 2),
        "more": write_classes(base / "more", 0, 20),
        "made": write_classes(base / "made", 100, 40),
        "wrong": write_classes(base / "wrong", 100, 40, swap=True),
        "test": write_classes(base / "test", 200, 30),
    }


def values(scores: tuple[Score, ...]) -> dict[str, float]:
    return {score.metric: float(score.value) for score in scores}


def test_images_help_by_their_own_labels(folders: dict[str, Path]) -> None:
    good = values(evaluate(folders["made"], folders["few"], metrics=["gain"], test=folders["test"]).scores)
    bad = values(evaluate(folders["wrong"], folders["few"], metrics=["gain"], test=folders["test"]).scores)
    assert set(good) == {"augmentation_gain", "accuracy_real", "accuracy_both"}
    assert good["augmentation_gain"] == pytest.approx(good["accuracy_both"] - good["accuracy_real"])
    assert good["accuracy_real"] == bad["accuracy_real"]
    assert good["augmentation_gain"] > 0.02
    assert bad["augmentation_gain"] < -0.1


def test_a_classifier_of_synthetic_images_alone_learns_what_their_folders_say(folders: dict[str, Path]) -> None:
    """Without a test set of its own, on what is held out of the real data, whatever extractor knows them."""
    found = evaluate(folders["made"], "digits", metrics=["cas"]).scores
    assert values(found)["cas"] == pytest.approx(0.3, abs=0.08)  # three digits of ten are among them
    assert found[0].protocol.short().startswith("cas[n120/2000 digits/held-out@")
    right, wrong = (
        values(evaluate(folders[name], folders["test"], metrics=["cas"]).scores) for name in ("made", "wrong")
    )
    assert right["cas"] > 0.9
    assert wrong["cas"] < 0.5


def test_beside_other_metrics(folders: dict[str, Path]) -> None:
    found = evaluate(folders["made"], "digits", metrics=["modes", "cas"])
    assert {"classes_present", "cas"} <= set(values(found.scores))


def test_the_protocol_names_both_sets(folders: dict[str, Path], tmp_path: Path) -> None:
    words = ["evaluate", str(folders["made"]), "--against", str(folders["few"]), "--metrics", "gain", "--test"]
    assert main([*words, str(folders["test"]), "--json", str(tmp_path / "scores.json")]) == 0
    stored = json.loads((tmp_path / "scores.json").read_text())["scores"]
    protocols = [Protocol.parse(each["protocol"]) for each in stored]
    assert {(each.reference, each.split, each.n_reference) for each in protocols} == {("few tested on test", "test", 6)}


def test_all_of_a_folder_is_real_where_the_test_is_another(folders: dict[str, Path]) -> None:
    """A tenth of 50 images and more is held out of training: the generator saw all of each class, so all of them count."""
    beside = evaluate(folders["made"], folders["more"], metrics=["gain"], test=folders["test"]).scores[0].protocol
    within = evaluate(folders["made"], folders["more"], metrics=["cas"]).scores[0].protocol
    assert (beside.n_reference, beside.split) == (60, "test")
    assert (within.n_reference, within.split) == (6, "held-out")


def test_what_cannot_be_taught_is_one_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for index, picture in enumerate(to_images(open_data("digits").batch(np.arange(60))[0])):
        picture.save(flat / f"{index}.png")
    with pytest.raises(UsageError, match="has no labels of its own; put images into a subfolder for each class"):
        evaluate(flat, folders["few"], metrics=["gain"], test=folders["test"])
    with pytest.raises(UsageError, match="flat has no labels; a folder needs a subfolder for each class"):
        evaluate(folders["made"], folders["few"], metrics=["gain"], test=flat)
    with pytest.raises(UsageError, match="name labelled images that no generator has seen, to test on"):
        evaluate(folders["made"], folders["few"], metrics=["gain"])
    with pytest.raises(UsageError, match="the synthetic images have a class '0', and other has only 7, 8"):
        evaluate(folders["made"], folders["few"], metrics=["gain"], test=_renamed(tmp_path / "other"))
    with pytest.raises(UsageError, match=r"--test .* leave it out"):
        evaluate(folders["made"], "digits", metrics=["modes"], test=folders["test"])


def _renamed(folder: Path) -> Path:
    write_classes(folder, 300, 3)
    (folder / "0").rename(folder / "8")
    for picture in (folder / "1").iterdir():
        picture.unlink()
    (folder / "1").rmdir()
    return folder
