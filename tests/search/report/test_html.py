"""A report as a page: what is text stays text, figures are inside, nothing is fetched."""

from base64 import b64encode
from html import unescape
from re import findall

import pytest

from cmd_tune.formatting import markdown_table, markdown_text
from cmd_tune.search.report.html import report_html

ODD = [
    "<script>alert(1)</script>",
    "a|b",
    "*x* _y_ `z` ~~w~~",
    "[f](http://g)",
    r"\<b\|",
    "&lt; & &#60;",
    "x < 3 > 2",
    "![i](j)",
]


@pytest.mark.parametrize("text", ODD)
def test_every_character_of_a_text_is_shown(text, tmp_path):
    """In a heading, a paragraph, a cell and the title."""
    markdown = f"# {markdown_text(text)}\n\nso: {markdown_text(text)}\n\n{markdown_table([text], [[text]])}\n"
    page = report_html(markdown, text, tmp_path)
    shown = [
        unescape(part.replace("<wbr>", ""))
        for part in findall(r"<(?:h1|p|th|td|title)>(.*?)</(?:h1|p|th|td|title)>", page)
    ]
    assert shown == [text, text, f"so: {text}", text, text]
    assert not findall(r"<(script|b|a|img|em|code)\b", page)


def test_figures_are_inside_and_one_that_is_missing_leaves_its_caption(tmp_path):
    (tmp_path / "there.png").write_bytes(b"png")
    page = report_html("![One](there.png)\n\n![Two](gone.png)\n", "t", tmp_path)
    body = page[page.index("<body>") :]
    assert f'<p><img src="data:image/png;base64,{b64encode(b"png").decode()}" alt="One" /></p>\n<p>Two</p>' in body


def test_the_page_is_whole_and_readable_in_the_dark_and_in_print(tmp_path):
    page = report_html("text", "t", tmp_path)
    assert page.startswith("<!DOCTYPE html>")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
