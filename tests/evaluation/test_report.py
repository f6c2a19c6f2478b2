"""The page: self-contained, safe against its labels, the same bytes every time, no empty section."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from cavmae.evaluation.curves import confusion_matrix, curve_points
from cavmae.evaluation.metrics import classification
from cavmae.evaluation.report import Example, Report, render, write_report
from cavmae.evaluation.retrieval import retrieve
from cavmae.evaluation.summary import summarise

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "line", "circle"}


class Page(HTMLParser):
    """Collects the tags, addresses and text of a page, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action"):
                self.addresses.append(value)
            if name == "id":
                self.ids.add(value)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)


def some_report(classes: int = 4, clips: int = 40) -> Report:
    random = np.random.default_rng(0)
    labels = [f"{HOSTILE} & $x_{c}$" for c in range(classes)]
    target = np.eye(classes)[np.arange(clips) % classes]
    scores = {}
    for model, strength in (("multimodal", 4), ("audio", 1), ("video", 1)):
        raw = np.exp(random.normal(size=target.shape) + strength * target)
        scores[model] = raw / raw.sum(axis=1, keepdims=True)
    vectors = random.normal(size=(clips, 8))
    test = {model: summarise(target, score, True, 50, 0) for model, score in scores.items()}
    test |= {"retrieval": retrieve(vectors, vectors), "ceiling": {"audio": 0.5}}
    test["difference"] = {"multimodal_minus_audio": {"accuracy": 0.25, "accuracy_low": 0.1, "accuracy_high": 0.4}}
    frames = random.integers(0, 255, (10, 8, 8, 3), dtype=np.uint8)
    clip = Example(
        f"id{HOSTILE}",
        labels[:1],
        [(labels[1], 0.7), (labels[0], 0.3)],
        frames,
        random.normal(size=(20, 8)),
        2.0,
        np.zeros(80),
    )
    row = {
        "video_id": "v",
        "path": f"/home/someone/{HOSTILE.replace('/', '')}.mp4",
        "step": "extract",
        "reason": "no_audio",
        "detail": HOSTILE,
    }
    return Report(
        title=HOSTILE,
        metrics={"test": test},
        labels=labels,
        per_class={model: classification(target, score, True)["per_class"] for model, score in scores.items()},
        confusion={model: confusion_matrix(target, score) for model, score in scores.items()},
        curves={model: curve_points(target, score, labels) for model, score in scores.items()},
        learning={HOSTILE: [{"epoch": 1, "train_loss": 2.0, "val_loss": "2.5", "lr": ""}, {"epoch": 2}]},
        best=[clip],
        worst=[clip],
        clips={"train": 100, "test": clips},
        label_clips={label: {"train": 25, "test": 10} for label in labels},
        quarantine=[row, {**row, "path": None}],
        lineage=[("git commit", HOSTILE)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return render(some_report())


def test_page_loads_nothing_from_outside(text):
    addresses = Page(text).addresses
    assert len(addresses) > 20
    assert all(address.startswith(("data:image/", "data:audio/wav;", "#")) for address in addresses)
    assert "url(" not in text and "@import" not in text
    assert not re.search(r"https?://", text)


def test_labels_and_names_are_text_and_never_markup(text):
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert sum("<script>" in part for part in page.texts) > 20


def test_page_forbids_scripts_to_the_browser_too(text):
    assert "default-src 'none'" in text


def test_every_link_of_the_page_has_its_section(text):
    page = Page(text)
    links = {address[1:] for address in page.addresses if address.startswith("#")}
    assert {"models", "retrieval", "classes", "confusion", "curves", "learning", "examples", "data"} <= links <= page.ids


def test_numbers_of_the_metrics_stand_in_the_page(text):
    scores = some_report().metrics["test"]
    assert f"{scores['multimodal']['accuracy']:.3f}" in text
    assert f"{scores['audio']['mAP_low']:.3f} – {scores['audio']['mAP_high']:.3f}" in text
    assert "+0.250" in text and "+0.100 … +0.400" in text


def test_clips_of_several_labels_are_judged_by_map_first(text):
    report = replace(some_report(), single_label=False)
    page = render(report)
    first = report.metrics["test"]["multimodal"]
    heads = re.findall(r"<th(?: [^>]*)?>([^<]*)", page[page.index('<table class="summary">') :].split("</thead>")[0])
    assert heads == ["Model", "mAP, 0 to 1", "mAP", "Accuracy", "mAUC", "d′", "Precision", "Recall", "F1", "One frame"]
    lead = page[page.index('<div class="headlines">') :].split("</div>")[0]
    assert f"<strong>{100 * first['mAP']:.1f} %</strong><span>mAP, sound and picture" in lead
    gain = 100 * (first["mAP"] - max(report.metrics["test"][name]["mAP"] for name in ("audio", "video")))
    assert f"{gain:+.1f} points" in page and Page(page).open == []
    assert "accuracy, sound and picture" in text and "mAP, 0 to 1" not in text


def test_folders_of_rejected_files_stay_private(text):
    assert "/home/someone" not in text


def test_same_report_gives_the_same_bytes_on_disk(tmp_path, text):
    write_report(tmp_path / "report.html", some_report())
    assert (tmp_path / "report.html").read_bytes() == text.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_of_nothing_but_a_title_is_a_page_without_empty_sections(tmp_path):
    page = Page(render(Report("Empty", metrics={}, labels=[])))
    assert page.open == []
    assert page.ids == {"method"}


def test_name_that_is_not_valid_unicode_does_not_cost_the_report(tmp_path):
    write_report(tmp_path / "report.html", Report("bad \udcff name", metrics={}, labels=[]))
    assert "bad ? name" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_many_classes_become_a_picture_and_a_list_of_what_is_confused():
    page = render(some_report(classes=30, clips=90))
    assert "taken for" in page
    assert len(page) < 2_000_000
    assert "taken for" not in render(some_report())
