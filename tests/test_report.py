"""The report is read as a browser would: parsed, never searched for luck."""

from __future__ import annotations

import base64
import json
import math
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sparring.errors import UsageError
from sparring.losses import LOSSES
from sparring.presets import PRESETS
from sparring.report import wording, write_report
from sparring.report.settings import command_of
from sparring.runs import RunDirectory, create_run, to_json_line
from sparring.settings import resolve

PROTOCOL = "fd[digits-v1@0d86a89f n2000/2000 digits/held-out@c189659a seed1 ema]"
VOID = {"meta", "img", "input", "br"}


@dataclass
class Page(HTMLParser):
    """What a browser finds in a page."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    text: str = ""
    raw: str = ""
    open_tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open_tags.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "script" in self.open_tags:
            self.scripts[-1] += data
        elif "style" not in self.open_tags:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.tags if attributes.get("id")]

    @property
    def charts(self) -> dict[str, dict[str, Any]]:
        return {chart["id"]: chart for chart in json.loads(self.scripts[0])}

    @property
    def frames(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[1])


def report_of(run: RunDirectory) -> Page:
    page = Page()
    page.raw = write_report(run).read_text(encoding="utf-8")
    page.feed(page.raw)
    page.close()
    assert page.open_tags == []
    assert len(page.ids()) == len(set(page.ids()))
    return page


def make_run(
    out: Path, data: str = "digits", preset: str = "dcgan32", label: str = "digits", **settings: Any
) -> RunDirectory:
    config = resolve(PRESETS[preset].config(data), {"steps": 300, **settings})
    return create_run(out, label, config.model_dump(mode="json"))


def write(path: Path, *events: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(map(to_json_line, events))


def log(step: int, probability: bool = True, **more: Any) -> dict[str, Any]:
    images = 64 * step
    row = {"event": "log", "step": step, "images": images, "epoch": images / 10_000}
    row |= {"D/loss": 1.2, "G/loss": 0.8, "D/grad_norm": 2.0, "G/grad_norm": 0.5, "D/accuracy": 0.7}
    row |= {"D/real_logits": 0.4, "D/fake_logits": -0.3, "G/fake_logits": -0.2}
    if probability:
        row |= {"D/real_prob": 0.6, "D/fake_prob": 0.4, "D/value": -1.1}
    return row | more


def score(step: int, fd: float) -> dict[str, Any]:
    return {
        "event": "eval", "step": step, "images": 64 * step, "fd": fd, "class_kl": 0.1, "classes_present": 9.0,
        "confidence": 0.9, "epoch": 64 * step / 10_000, "histogram": [*[10] * 9, 0], "protocol": PROTOCOL,
        "intervals": {"fd": [0.9 * fd, 1.1 * fd]} if math.isfinite(fd) else {},
    }  # fmt: skip


def draw(run: RunDirectory, step: int, side: int = 32) -> None:
    path = run.sample_file(step)
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path)
    write(run.events_file, {"event": "samples", "step": step, "images": 64 * step, "file": path.name})


def complete(run: RunDirectory) -> RunDirectory:
    """A run that went well: 300 steps, 3 evaluations, the second the best, 16 grids."""
    write(run.events_file, {**score(0, 0.5), "event": "floor", "protocol": PROTOCOL.replace("ema", "real")})
    for step in range(0, 301, 20):
        if step:
            write(run.events_file, log(step))
        draw(run, step)
    for step, fd in ((100, 80.0), (200, 12.0), (300, 14.0)):
        write(run.events_file, score(step, fd))
        checkpoint = run.checkpoint_dir(step)
        checkpoint.mkdir()
        state = {"total_steps": 300, "data_sha256": "feed" * 16, "shape": [1, 28, 28]}
        (checkpoint / "manifest.json").write_text(json.dumps({"state": state}))
    run.best_file.write_text("00000200\n")
    machine = {"torch": "2.99.0+test", "device": "cpu", "device_name": "box", "precision": "fp32", "threads": 2}
    write(run.clock_file, {"event": "start", "time": 1.7e9, "step": 0, "machine": machine, "threads": 2})
    write(run.clock_file, *({"event": "rate", "time": 1.7e9 + s, "step": s, "images": 64 * s} for s in (20, 300)))
    write(run.clock_file, {"event": "stop", "time": 1.7e9 + 301, "step": 300})
    return run


@pytest.fixture
def good(tmp_path: Path) -> RunDirectory:
    return complete(make_run(tmp_path))


def test_the_page_reaches_for_nothing(good: RunDirectory) -> None:
    page = report_of(good)
    fetched = [a[key] for _, a in page.tags for key in ("src", "srcset", "poster", "data", "action") if a.get(key)]
    assert fetched
    assert all(address.startswith("data:image/") for address in fetched)
    assert not page.all("link")
    assert not page.all("base")
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    style = page.raw[page.raw.index("<style>") : page.raw.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    links = {a["href"] for a in page.all("a")}
    assert all(href.startswith(("#", "https://arxiv.org/abs/")) for href in links)
    assert {href[1:] for href in links if href.startswith("#")} <= set(page.ids())


def test_plotly_comes_from_the_installed_package_whole(good: RunDirectory) -> None:
    from plotly.offline import get_plotlyjs

    assert report_of(good).scripts[2] == get_plotlyjs()


def test_header_tells_what_when_and_how_well(good: RunDirectory) -> None:
    text = report_of(good).text
    assert "All 300 steps were played." in text
    assert "step 200, by Fréchet distance" in text
    assert "14 November 2023, 22:13 UTC" in text
    assert "64.0 images/s" in text
    assert "cpu · box · fp32 · 2 threads · torch 2.99.0+test" in text
    assert "finished" in text
    assert "stopped" not in text


def test_hero_shows_the_best_step_not_the_last(good: RunDirectory) -> None:
    page = report_of(good)
    content = base64.b64decode(page.all("img")[0]["src"].partition(",")[2])
    assert content == good.sample_file(200).read_bytes()
    assert content != good.sample_file(300).read_bytes()


def test_intervals_are_a_band_where_every_value_has_one(good: RunDirectory) -> None:
    charts = report_of(good).charts
    line = charts["metric-fd"]["lines"][0]
    assert line["y"] == [80.0, 12.0, 14.0]
    assert line["band"] == [[72.0, 10.8, 12.6], [88.0, 13.2, 15.4]]
    assert "The band holds the 95 % intervals." in report_of(good).text
    assert charts["metric-class-kl"]["lines"][0]["band"] == []
    write(good.events_file, {key: value for key, value in score(320, 3.0).items() if key != "intervals"})
    assert report_of(good).charts["metric-fd"]["lines"][0]["band"] == []


def test_every_grid_is_in_the_page_once_more_than_the_hero(good: RunDirectory) -> None:
    page = report_of(good)
    shown = {image["id"]: image["src"] for image in page.all("img") if (image.get("id") or "").startswith("grid-")}
    assert {"grid-0", "grid-300"} <= set(shown)
    assert 8 <= len(shown) <= 12
    assert [frame["step"] for frame in page.frames] == list(range(0, 301, 20))
    for frame in page.frames:
        source = frame["src"] or shown[f"grid-{frame['step']}"]
        assert base64.b64decode(source.partition(",")[2]) == good.sample_file(frame["step"]).read_bytes()
        assert (frame["src"] is None) == (f"grid-{frame['step']}" in shown)
    assert all("alt" in image for image in page.all("img"))


def test_grids_are_labelled_with_images_epoch_and_the_lectures_stage(good: RunDirectory) -> None:
    page = report_of(good)
    assert page.frames[0]["more"] == "before training"
    assert page.frames[-1]["more"] == "19,200 images · epoch\u00a01.9 · initial chaos"
    assert "as the lectures name them" in page.text


@pytest.mark.parametrize(
    ("epoch", "stage"),
    [
        (0.1, "initial chaos"),
        (4.9, "initial chaos"),
        (5, "emerging structure"),
        (15, "refinement"),
        (30, "fine details"),
    ],
)
def test_stages_end_where_the_lectures_end_them(epoch: float, stage: str) -> None:
    assert wording.stage(epoch) == stage


def test_large_grids_are_made_small_enough_and_still_say_that_they_are_synthetic(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    draw(run, 0, side=1200)
    assert run.sample_file(0).stat().st_size > 4_000_000
    source = report_of(run).all("img")[0]["src"]
    assert source.startswith("data:image/jpeg;base64,")
    content = base64.b64decode(source.partition(",")[2])
    assert len(content) < 1_500_000
    assert b"synthetic" in content


def test_many_grids_are_thinned_evenly_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparring.report import pictures

    run = make_run(tmp_path)
    for step in range(30):
        draw(run, step)
    monkeypatch.setattr(pictures, "_MOST_BYTES", 15 * run.sample_file(0).stat().st_size)
    page = report_of(run)
    steps = [frame["step"] for frame in page.frames]
    assert 12 <= len(steps) <= 16
    assert steps[0] == 0
    assert steps[-1] == 29
    assert f"{len(steps)} of the run’s 30 grids" in page.text


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_probabilities_and_value_are_shown_only_where_the_loss_has_them(tmp_path: Path, loss: str) -> None:
    row = LOSSES[loss]
    extra = {"d": {"weight_clip": 0.01}} if row.lipschitz else {}
    run = make_run(tmp_path, loss=loss, real_label=1.0, **extra)
    write(run.events_file, *(log(step, row.probability) for step in (10, 20)))
    page = report_of(run)
    assert ("value" in page.charts) == row.probability
    names = [line["name"] for line in page.charts["outputs"]["lines"]]
    assert ("½, the equilibrium" in names) == row.probability
    assert ("does not make D’s output a probability" in page.text) == (not row.probability)
    if row.probability:
        level = page.charts["value"]["lines"][-1]["y"]
        assert level == pytest.approx([-math.log(4)] * 2, abs=1e-4)
    assert ("failing game" in page.text) == (not row.lipschitz)


def test_every_chart_has_a_place_words_and_a_caption(good: RunDirectory) -> None:
    page = report_of(good)
    assert list(page.charts) == [
        "losses", "outputs", "value", "accuracy", "gradients",
        "metric-fd", "metric-class-kl", "metric-classes-present", "metric-confidence", "classes",
    ]  # fmt: skip
    places = {a["id"]: a for a in page.all("div") if a.get("class") == "plot"}
    assert set(places) == set(page.charts)
    assert all(len(place["aria-label"]) > 30 for place in places.values())
    assert len([a for a in page.all("p") if a.get("class") == "caption"]) >= len(places)
    assert page.text.count(PROTOCOL) == 6  # under each of the five, and in the configuration


def test_distance_has_the_floor_and_marks_the_best(good: RunDirectory) -> None:
    curve, floor, best = report_of(good).charts["metric-fd"]["lines"]
    assert curve["x"] == [100, 200, 300]
    assert curve["y"] == [80.0, 12.0, 14.0]
    assert floor["y"] == [0.5, 0.5]
    assert (best["x"], best["y"], best["star"]) == ([200], [12.0], True)


def test_class_shares_sum_to_one_and_carry_the_names_of_the_judge(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run.events_file, score(100, 9.0) | {"protocol": PROTOCOL.replace("digits-v1", "clothes-v1")})
    heat = report_of(run).charts["classes"]["heat"]
    assert heat["names"][0] == "T-shirt/top"
    assert sum(row[0] for row in heat["shares"]) == pytest.approx(1, abs=1e-3)
    assert heat["shares"][9] == [0.0]


def test_points_in_the_plane_have_modes_and_penalties_and_no_stages(tmp_path: Path) -> None:
    run = make_run(tmp_path, "ring", "points")
    write(run.events_file, log(100, False, **{"D/adversarial": 1.1, "D/r1": 0.01, "D/r2": 0.02}))
    modes = {"mode_gap": 0.2, "modes": 7.0, "high_quality": 0.9, "reverse_kl": 0.1, "histogram": [5] * 8}
    write(
        run.events_file,
        {"event": "eval", "step": 100, "images": 6400, "epoch": 0.64, **modes, "protocol": "mode_gap[x]"},
    )
    draw(run, 100)
    page = report_of(run)
    assert {"metric-mode-gap", "metric-modes", "metric-high-quality", "metric-reverse-kl", "classes"} <= set(
        page.charts
    )
    assert [line["name"] for line in page.charts["terms"]["lines"]] == ["r1", "r2"]
    assert page.charts["classes"]["heat"]["names"][0] == "mode 1"
    assert page.frames[-1]["more"] == "6,400 images · epoch\u00a00.6"
    assert "Penalty: r1, weight 0.0015" in page.text


def test_stacked_digits_have_a_thousand_modes_and_a_histogram_of_ten_classes(tmp_path: Path) -> None:
    run = make_run(tmp_path, "stacked-mnist", "dcgan")
    protocol = "reverse_kl[digits-v1@0d86a89f n200 stacked-mnist/modes@5287f365 seed1 ema]"
    found = {"reverse_kl": 2.5, "modes": 120.0, "epoch": 0.05, "histogram": [60] * 10, "protocol": protocol}
    real = {"event": "floor", "step": 0, "reverse_kl": 1.8, "modes": 177.0, "protocol": protocol}
    write(run.events_file, real, log(100), {"event": "eval", "step": 100, "images": 6400, **found})
    checkpoint = run.checkpoint_dir(100)
    checkpoint.mkdir()
    state = {"total_steps": 300, "data_sha256": "feed" * 16, "shape": [3, 32, 32]}
    (checkpoint / "manifest.json").write_text(json.dumps({"state": state}))
    run.best_file.write_text("00000100\n")
    draw(run, 100)
    page = report_of(run)
    heat = page.charts["classes"]["heat"]
    assert heat["names"] == list("0123456789")
    assert heat["shares"] == [[0.1]] * 10
    assert "Classes over time" in page.text
    assert "of 1,000; real data: 177" in page.text
    assert "Which share of the channels of the generated samples falls to each class" in page.text
    assert any((image.get("alt") or "").startswith("Grid of generated samples") for image in page.all("img"))


def test_losses_are_compared_with_the_metric_over_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for step in range(10, 110, 10):
        write(run.events_file, log(step, **{"D/loss": 1.0, "G/loss": 0.01 * step}), score(step, 200.0 - step))
    assert "Its correlation over this run is −1.00 with G’s loss;" in report_of(run).text


NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


def test_nothing_that_a_file_says_becomes_markup(tmp_path: Path) -> None:
    path = tmp_path / "<script>alert(0)&amp;"
    run = RunDirectory(path)
    made = make_run(tmp_path, data=NASTY, preset="dcgan")
    complete(made).path.rename(path)
    write(run.events_file, {"event": "warning", "step": 3, "text": NASTY})
    write(run.events_file, log(310, **{"D/" + NASTY: 1.0}))
    write(run.events_file, score(320, 3.0) | {"protocol": NASTY, NASTY: 4.0})
    write(run.events_file, {"event": "skipped", "step": 1, "player": "D", "reason": NASTY})
    write(run.clock_file, {"event": "start", "time": 1.7e9, "step": 0, "machine": {"torch": NASTY, NASTY: NASTY}})
    page = report_of(run)
    assert len(page.all("script")) == 4
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count(NASTY) >= 5
    assert "<script>alert(0)&amp;" in page.text
    assert any(NASTY in line["name"] for line in page.charts["terms"]["lines"])


def test_json_in_a_script_cannot_end_it_and_reads_back() -> None:
    data = {"a": "</script><!--<script>&\u2028", "b": [1.5, None]}
    text = wording.embedded(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_command_names_what_differs_and_is_quoted_for_a_shell(tmp_path: Path) -> None:
    settings = {"loss": "relativistic", "real_label": 1.0, "penalty": ("r1:1", "r2:0.5"), "g": {"betas": (0.0, 0.99)}}
    steady = {"stabilizer": ("packing:2", "top-k"), "d": {"norm": "none", "mixed": True}, "steps": 77}
    config = resolve(PRESETS["dcgan"].config("my pictures; rm"), {**settings, **steady})
    command = command_of(config)
    assert command is not None
    words = shlex.split(command)
    assert words[:5] == ["sparring", "train", "my pictures; rm", "--preset", "dcgan"]
    pairs = " ".join(words[5:])
    for flag in (
        "--loss relativistic",
        "--penalty r1:1 --penalty r2:0.5",
        "--stabilizer packing:2 --stabilizer top-k",
        "--d.mixed=true",
        "--g.betas 0.0 0.99",
        "--d.norm none",
        "--steps 77",
    ):
        assert flag in pairs
    assert "--batch-size" not in pairs


def test_a_preset_as_it_is_needs_no_flags() -> None:
    for name, preset in PRESETS.items():
        assert command_of(preset.config("x")) == f"sparring train x --preset {name}"


def test_what_flags_cannot_say_is_left_to_the_config_file(tmp_path: Path) -> None:
    config = resolve(PRESETS["modern"].config("x"), {"d": {"norm": None}})
    assert command_of(config) is None
    run = create_run(tmp_path, "x", config.model_dump(mode="json"))
    text = report_of(run).text
    assert f"sparring train --config {run.config_file} --resume never" in text
    assert "As it would be typed" not in text


def test_settings_that_differ_from_the_preset_are_marked_and_only_those(tmp_path: Path) -> None:
    run = make_run(tmp_path, g={"lr": 2e-3})
    page = report_of(run)
    rows = page.raw.split("<tr")
    marked = [row for row in rows if 'class="changed"' in row[:20]]
    names = [row.partition("<code>")[2].partition("<")[0] for row in marked]
    assert names == ["g.lr", "steps", "images"]
    assert f"(preset: {PRESETS['dcgan32'].config('digits').g.lr})" in marked[0]
    assert len(rows) > 40
    assert "L_G = -log D(G(z))" in page.text
    assert "https://arxiv.org/abs/1406.2661" in {a["href"] for a in page.all("a")}


def test_versions_seed_and_data_hash_are_told(good: RunDirectory) -> None:
    text = report_of(good).text
    assert "feed" * 16 in text
    assert "torch 2.99.0+test" in text


def test_a_directory_with_nothing_but_a_config(tmp_path: Path) -> None:
    page = report_of(make_run(tmp_path))
    assert page.charts == {}
    assert page.frames == []
    assert "the run ended before the first row of its log" in page.text
    assert "the run ended at step 0, before its first one" in page.text
    assert "There are no sample grids" in page.text


def test_a_run_killed_at_step_3(tmp_path: Path) -> None:
    run = make_run(tmp_path, log_every=1)
    draw(run, 0)
    write(run.events_file, *map(log, (1, 2, 3)))
    with run.events_file.open("a") as file:
        file.write('{"event":"log","st')
    run.sample_file(3).write_bytes(b"\x89PNG half")
    write(run.events_file.with_name("clock.jsonl"), {"event": "start", "time": 1.7e9, "step": 0})
    page = report_of(run)
    assert "It was last heard of at step 3 of 300" in page.text
    assert page.charts["losses"]["lines"][0]["x"] == [1, 2, 3]
    assert page.frames[0]["step"] == 0


def test_a_stopped_run_says_where_and_how_to_go_on(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run.events_file, log(50))
    write(run.clock_file, {"event": "start", "time": 0.0, "step": 0}, {"event": "stop", "time": 9.0, "step": 60})
    assert "It was stopped at step 60 of 300; the same command again goes on from there." in report_of(run).text


def test_a_diverged_run_says_why(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    skips = [
        {"event": "skipped", "step": 40 + n // 2, "player": "DG"[n % 2], "reason": "not finite"} for n in range(10)
    ]
    write(run.events_file, log(40), *skips)
    write(run.clock_file, {"event": "start", "time": 0.0, "step": 0, "left_out": ["a.png: cut off"]})
    assert "It gave up" not in report_of(run).text
    write(run.clock_file, {"event": "diverged", "time": 1.0, "step": 44, "reason": "no gradient of D is finite"})
    text = report_of(run).text
    assert "diverged" in text
    assert "It gave up at step 44 of 300: no gradient of D is finite." in text
    assert "Left out of the data: a.png: cut off." in text
    assert "5 turns of D left out between steps 40 and 44: not finite." in text


def test_numbers_that_are_not_finite_are_gaps_and_trouble(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run.events_file, log(10), log(20, **{"D/loss": math.nan}), log(30), score(30, math.inf) | {"histogram": None})
    page = report_of(run)
    assert page.charts["losses"]["lines"][0]["y"] == [1.2, None, 1.2]
    assert "D/loss was not finite in 1 row, first at step 20." in page.text
    assert "metric-fd" not in page.charts
    assert "None: no turn was skipped" not in page.text


def test_a_run_without_trouble_says_so(good: RunDirectory) -> None:
    assert "None: no turn was skipped" in report_of(good).text


def test_a_damaged_log_is_read_up_to_the_damage(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run.events_file, log(10), log(20))
    with run.events_file.open("a") as file:
        file.write("not json\n")
    write(run.events_file, log(30))
    page = report_of(run)
    assert page.charts["losses"]["lines"][0]["x"] == [10, 20]
    assert "events.jsonl is damaged after 2 lines" in page.text


def test_a_config_of_another_version_still_gives_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    values = run.config() | {"loss": "of tomorrow", "preset": "of tomorrow", "new_setting": 3}
    run.config_file.write_text(json.dumps(values))
    write(run.events_file, log(10, False))
    page = report_of(run)
    assert "“of tomorrow” is not in this installation’s table" in page.text
    assert "new_setting" in page.text
    assert "losses" in page.charts


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run directory"):
        write_report(RunDirectory(tmp_path))


def test_long_logs_are_averaged_not_cut(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=5000)
    write(run.events_file, *(log(step, **{"D/loss": float(step % 2)}) for step in range(1, 2001)))
    page = report_of(run)
    line = page.charts["losses"]["lines"][0]
    assert len(line["x"]) <= 800
    assert line["x"][-1] == 2000
    assert sum(line["y"]) / len(line["y"]) == pytest.approx(0.5, abs=0.01)
    assert "Each point is the mean of its neighbours" in page.text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.00"),
        (66.705, "66.7"),
        (1234.5, "1,234"),
        (0.00488, "0.00488"),
        (-1.386, "−1.39"),
        (3e-7, "3.00e−07"),
        (None, "not finite"),
    ],
)
def test_numbers_keep_the_digits_that_mean_something(value: float | None, written: str) -> None:
    assert wording.number(value) == written


def test_a_report_is_the_same_when_written_again_and_needs_no_torch(good: RunDirectory) -> None:
    before = report_of(good).raw
    code = (
        "import sys; from pathlib import Path; from sparring.runs import RunDirectory; from sparring.report import write_report\n"
        f"write_report(RunDirectory(Path({str(good.path)!r}))); assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert good.report_file.read_text(encoding="utf-8") == before
