"""The table of claims, and the verb that runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import sparring.cli.theory as verb
from sparring.cli import main
from sparring.experiments import CLAIMS, Claim, Finding
from sparring.experiments.finding import Curve, Panel
from sparring.experiments.plot import _DRAWABLE, _font

ALL = pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)


def test_every_claim_of_the_lectures_is_there() -> None:
    assert list(CLAIMS) == [f"T{number}" for number in range(1, 13)]


@ALL
def test_rows_say_what_a_user_needs(claim: Claim) -> None:
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.", claim.paper)
    for text in (claim.claim, claim.experiment, claim.lecture):
        assert text.endswith(".")
        assert "\n" not in text
    missing = bytes(_font(32).getmask("\uffff"))
    undrawn = {sign for sign in claim.claim if bytes(_font(32).getmask(sign.translate(_DRAWABLE))) == missing}
    assert not undrawn, "the claim heads the picture, so its letters must be in the font"


def test_listing_needs_no_torch() -> None:
    code = "import sys; from sparring.cli import main; main(['theory']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert all(claim in done.stdout for claim in CLAIMS)


@pytest.mark.parametrize("id", ["T1", "T9", "T10", "T11"])
def test_a_claim_prints_its_numbers_and_saves_its_picture(
    id: str, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quick ones as they are; the others have tests of their own with fewer steps."""
    assert main(["theory", id]) == 0
    out = capsys.readouterr().out
    assert "Holds: " in out
    assert CLAIMS[id].paper in " ".join(out.split())
    with Image.open(in_tmp / "theory" / f"{id}.png") as picture:
        assert picture.width >= 920
    finding = CLAIMS[id].run(0)
    assert all(len(row) == len(finding.columns) for row in finding.rows)
    for panel in finding.plot:
        assert isinstance(panel, Panel) is False or all(len(curve.x) == len(curve.y) for curve in panel.curves)


def test_json_has_the_numbers_and_nothing_else(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "t11", "--json", "--out", "pictures"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["id"] == "T11"
    assert found["holds"] is True
    assert len(found["rows"]) == 5
    assert found["picture"] == "pictures/T11.png"
    assert (in_tmp / "pictures" / "T11.png").exists()
    assert main(["theory", "--json"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == list(CLAIMS)


def _found(holds: bool) -> Finding:
    return Finding("T1", holds, "So it is.", ("a",), ((1.0,),), (Panel("", "", "", (Curve("", (0.0,), (1.0,)),)),))


def test_all_runs_all_and_a_claim_that_does_not_hold_ends_with_1(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(id: str, holds: bool) -> Claim:
        return Claim(id=id, claim="c.", experiment="e.", lecture="l.", paper="p", run=lambda seed: _found(holds))

    monkeypatch.setattr(verb, "CLAIMS", {"T1": fake("T1", True), "T2": fake("T2", True)})
    assert main(["theory", "all"]) == 0
    assert sorted(path.name for path in Path("theory").iterdir()) == ["T1.png", "T2.png"]
    assert capsys.readouterr().out.count("So it is.") == 2
    monkeypatch.setattr(verb, "CLAIMS", {"T1": fake("T1", True), "T2": fake("T2", False)})
    assert main(["theory", "all"]) == 1
    assert main(["theory", "T1"]) == 0


@pytest.mark.parametrize("words", [["theory", "T13"], ["theory", "T1", "--seed", "x"]])
def test_wrong_words_are_one_sentence(words: list[str], in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("sparring: ")
    assert list(in_tmp.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_one_sentence(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("theory").write_text("a file where the folder should be")
    assert main(["theory", "T11"]) == 2
    assert "theory/T11.png" in capsys.readouterr().err
