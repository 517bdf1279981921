"""The page stands alone, shows what the run holds, and nothing in a summary can get out of its text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_runs import write_summary

from sr_tvm.cli.main import main
from sr_tvm.errors import SrTvmError
from sr_tvm.report.page import write_report

VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and whether every element is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page_of(folder: Path) -> tuple[str, Page]:
    source = write_report(folder).read_text(encoding="utf-8")
    return source, Page(source)


def test_page_stands_alone(run: tuple[Path, dict[str, Any]]) -> None:
    source, page = page_of(run[0])
    assert not re.search(r"https?://", source)
    assert not re.search(r"@import|url\((?!#)", source)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed"), tag
        for name in ("src", "href", "data", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value[:60])
    assert sum(tag == "img" for tag, _ in page.tags) == 6
    assert not page.unbalanced and not page.open


def test_page_shows_the_figures_of_the_run(run: tuple[Path, dict[str, Any]]) -> None:
    _, page = page_of(run[0])
    words = " ".join(" ".join(page.words).split())
    for figure in (
        "32.00 dB", "+2.00 dB", "36.7 K", "36,720 parameters", "2.0e-07", "2.0e-03", "off", "2.00 times as fast",
        "+5.0 %", "threads 1", "median of 3 runs 10.00 ms", "fused_conv", "5 others", "Once round the loop",
    ):  # fmt: skip
        assert figure in words, figure
    assert sum(tag == "svg" for tag, _ in page.tags) == 4


def test_ids_are_unique(run: tuple[Path, dict[str, Any]]) -> None:
    source, page = page_of(run[0])
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids)) > 10
    references = set(re.findall(r'url\(#([^)]+)\)|\bhref="#([^"]+)"', source))
    assert references and {a or b for a, b in references} <= set(ids)


def test_unused_parts_are_left_out(tmp_path: Path) -> None:
    write_summary(tmp_path, {"title": "empty"})
    _, page = page_of(tmp_path)
    assert [tag for tag, _ in page.tags if tag == "section"] == []
    assert not page.unbalanced


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;$x^{$\x00\x1b]0;\n'--></style></title>${css}"


def spoiled(value: Any, key: str = "") -> Any:
    """Every string that is not structure or a file name, replaced by a hostile one."""
    keep = {"schema", "version", "family", "unit", "truth", "bicubic", "ours", "file"}
    if isinstance(value, dict):
        return {k: v if k in keep else spoiled(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [spoiled(v) for v in value]
    return HOSTILE if isinstance(value, str) else value


def test_hostile_strings_stay_text(run: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = run
    _, good = page_of(folder)
    summary = spoiled(summary)
    for field in ("machine", "versions"):
        summary[field] = {HOSTILE: HOSTILE}
    summary["measurement"]["conditions"] = {HOSTILE: HOSTILE}
    write_summary(folder, summary)
    source, page = page_of(folder)
    assert [t for t, _ in page.tags if t == "script"] == ["script"]
    assert sum(t == "img" for t, _ in page.tags) == sum(t == "img" for t, _ in good.tags)
    assert not [n for _, a in page.tags for n in a if n.startswith("on")]
    assert not page.unbalanced and not page.open
    assert "alert(1)" in " ".join(page.words)
    assert "\x00" not in source and "\x1b" not in source


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "", None, 7, "gone.png", "a\0b"])
def test_pictures_outside_the_folder_are_refused(run: tuple[Path, dict[str, Any]], name: Any) -> None:
    folder, summary = run
    summary["pictures"]["compare"]["ours"] = name
    write_summary(folder, summary)
    with pytest.raises(SrTvmError, match=r"ours|gone\.png"):
        write_report(folder)


def test_link_out_of_the_folder_is_refused(run: tuple[Path, dict[str, Any]], tmp_path_factory: Any) -> None:
    folder, _ = run
    outside = tmp_path_factory.mktemp("outside") / "ours.png"
    (folder / "ours.png").rename(outside)
    (folder / "ours.png").symlink_to(outside)
    with pytest.raises(SrTvmError, match="leads out"):
        write_report(folder)


def test_a_file_that_is_no_picture_is_refused(run: tuple[Path, dict[str, Any]]) -> None:
    (run[0] / "bicubic.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(SrTvmError, match=r"bicubic\.png: not a picture"):
        write_report(run[0])


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("parity", [{"name": "x"}], r"field parity\[0\]\.max_abs_err is missing"),
        ("passes", {"kernels_before": "many", "kernels_after": 1}, "part 'header'"),
        ("tuning", [1], r"field tuning is \[1\]; an object or null is needed"),
        ("per_operator", [{"kernel": "a", "ms": "long"}], "part 'operators'"),
        ("speed", {"rows": [{"name": "a", "measured": 0.0, "predicted": 1.0}]}, r"speed\.rows\[0\]\.measured is 0"),
        ("steps", "all", "field steps is 'all'; a list is needed"),
        ("finished", True, "unknown field 'finished'"),
    ],
)
def test_wrong_fields_are_named(run: tuple[Path, dict[str, Any]], field: str, value: Any, told: str) -> None:
    folder, summary = run
    summary[field] = value
    write_summary(folder, summary)
    with pytest.raises(SrTvmError, match=told):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_report_command(run: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", str(run[0]), "--json"])
    assert stop.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["report"]).stat().st_size == told["bytes"] > 10_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no summary.json"),
        ("{", "not JSON"),
        ('{"schema": "other", "version": 1}', "not a sr-tvm/run file"),
        ('{"schema": "sr-tvm/run", "version": 99}', "version 99"),
    ],
)
def test_foreign_run_folders(
    tmp_path: Path, content: str | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path)])
    told = capsys.readouterr().err
    assert stop.value.code == 1 and words in told and told.count("\n") == 1


def test_missing_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path / "no")])
    assert stop.value.code == 1 and "no such folder" in capsys.readouterr().err
