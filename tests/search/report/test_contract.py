"""What every section, figure and file of a report must do, in whatever state a study ends."""

import io
import re
from dataclasses import dataclass

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from cmd_tune.figures import DPI, save_drawing
from cmd_tune.search.report import FIGURES, FILES, SECTIONS, print_report, write_report
from cmd_tune.search.report.base import Section
from cmd_tune.search.spaces.ablation import Ablation
from tests.search.report.conftest import SIXTEEN, STUDIES
from tests.search.report.made_up import made_up

pytestmark = pytest.mark.filterwarnings("error")


def text_of(*parts, width=80):
    file = io.StringIO()
    console = Console(file=file, width=width)
    for part in parts:
        console.print(part)
    return file.getvalue()


def check_sections(findings):
    for word, make in SECTIONS.items():
        section = make(findings)
        if section is None:
            continue
        assert isinstance(section, Section), word
        assert section.markdown or section.screen, word
        assert section.markdown == section.markdown.strip(), word
        assert not re.search(r"\b(nan|None|inf)\b", section.markdown.replace("the loss is nan", "")), word
        for width in (40, 200):
            assert all(len(line) <= width for line in text_of(*section.screen, width=width).splitlines()), word


def check_figures(findings, folder):
    for word, make in FIGURES.items():
        drawing = make(findings)
        if drawing is None:
            continue
        assert drawing.caption, word
        data = save_drawing(drawing, folder / f"{word}.png").read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n"), word
        pixels = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        assert pixels == pytest.approx([DPI * inches for inches in drawing.size], abs=1), word


def check_files(findings):
    for name, make in FILES.items():
        text = make(findings)
        assert text is None or text.endswith("\n"), name


def check_report(findings):
    report = write_report(findings)
    names = [path.name for path in report.files]
    order = [*FILES, *(f"{word}.png" for word in FIGURES), "report.md", "report.html", "looks.json"]
    assert names == sorted(names, key=order.index)
    assert all(path.is_file() for path in report.files)
    comparison = findings.comparison is not None
    assert {"cells.csv", "table.png"} & set(names) == ({"cells.csv", "table.png"} if comparison else set())
    assert ("best.yaml" in names) == bool(findings.study.ranked() and not comparison)
    assert ("best/trial" in report.metrics) == ("best.yaml" in names)
    assert report.names[0] == "report.html"
    text, page = (report_of(findings, name) for name in ("report.md", "report.html"))
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert all((findings.study.folder / link).is_file() for link in links)
    assert page.count("<img ") == len(links) == page.count('src="data:image/png;base64,')
    assert not re.search(r"<script|https?:|<link|url\(", page)


def report_of(findings, name):
    return (findings.study.folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_every_part_of_a_report_keeps_its_contract(findings_of, name, tmp_path):
    """A section says something, a figure is a PNG of its size, a file is text; or the part is None."""
    findings = findings_of(name)
    check_sections(findings)
    check_figures(findings, tmp_path)
    check_files(findings)
    check_report(findings)


@pytest.mark.parametrize(("fresh", "asked"), [(5, Ablation()), (0, Ablation(seeds=1)), (0, Ablation())])
def test_every_part_of_the_report_of_a_path_does(fresh, asked, tiny, tmp_path):
    findings = made_up(tmp_path / "search", tiny, 40, SIXTEEN, fresh=fresh, asked=asked)
    check_sections(findings)
    check_figures(findings, tmp_path)
    check_files(findings)
    check_report(findings)


@pytest.mark.parametrize("name", ["search, one trial", "comparison, one trial"])
def test_a_study_without_baselines_has_a_report(findings_of, name):
    report = write_report(findings_of(name, baselines=False))
    assert "baselines.yaml" not in [path.name for path in report.files]
    assert report.baselines == {}


# One file and one line: what is registered is printed, written and named by itself.


@dataclass(frozen=True)
class Dots:
    """A figure that somebody adds: the best value after each trial."""

    best: list[float]

    caption, size = "Dots", (3.0, 2.0)

    def draw(self, figure: Figure) -> None:
        figure.subplots().plot(self.best, "o")


def dots(findings):
    trials = findings.study.trials.values()
    scores = [score for trial in trials if (score := trial.last("val/knn/fused")) is not None]
    return Dots([max(scores[: n + 1]) for n in range(len(scores))]) if scores else None


def how_many(findings):
    return Section("", [f"{len(findings.study.trials)} trials in all"])


def test_a_figure_and_a_section_are_added_by_a_line_each(findings_of, monkeypatch):
    monkeypatch.setitem(FIGURES, "dots", dots)
    monkeypatch.setitem(SECTIONS, "number", how_many)
    findings = findings_of("search, stopped early")
    assert dots(findings).best == [98, 98]
    report = write_report(findings)
    names = [path.name for path in report.files]
    assert names[:4] == ["trials.csv", "trials.json", "baselines.yaml", "best.yaml"]
    assert names[-3:] == ["dots.png", "report.md", "report.html"]
    printed = io.StringIO()
    print_report(Console(file=printed), findings.study, report)
    assert printed.getvalue().endswith("2 trials in all\n")


def test_a_figure_of_a_comparison_stands_in_its_report(findings_of, monkeypatch):
    monkeypatch.setitem(FIGURES, "dots", dots)
    findings = findings_of("comparison, one seed")
    write_report(findings)
    text = (findings.study.folder / "report.md").read_text(encoding="utf-8")
    assert "![The table as a figure](table.png)\n\n![Dots](dots.png)\n\n## Claims" in text


def test_a_part_that_fails_is_named_and_takes_no_other_with_it(findings_of, monkeypatch):
    def fails(findings):
        raise ValueError("no colours left")

    monkeypatch.setitem(FIGURES, "broken", fails)
    monkeypatch.setitem(SECTIONS, "broken section", fails)
    findings = findings_of("search, one trial")
    troubles = {}

    def attempt(what, step):
        try:
            return step()
        except ValueError as error:
            troubles[what] = str(error)
            return None

    report = write_report(findings, attempt=attempt)
    assert troubles == {"broken.png": "no colours left", "broken section": "no colours left"}
    texts = [path.name for path in report.files if path.suffix != ".png"]
    assert texts == ["trials.csv", "trials.json", "baselines.yaml", "best.yaml", "report.md", "report.html"]
    assert "trial-000" in text_of(report.closing)
