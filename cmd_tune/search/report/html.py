"""A report as one HTML page that needs nothing beside it: figures are inside, and there are neither scripts nor links
to other places.
"""

import re
from base64 import b64encode
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_STYLE = """\
:root { color-scheme: light dark; --text: #1f2328; --page: #fff; --quiet: #59636e; --line: #d1d9e0; --band: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --quiet: #9198a1; --line: #3d444d; --band: #151b23; }
}
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1.5rem 4rem; color: var(--text); background: var(--page);
  font: 16px/1.55 system-ui, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
h1, h2, h3 { line-height: 1.25; margin: 2em 0 .6em; }
h1 { font-size: 1.8rem; margin-top: .4em; }
h2 { font-size: 1.3rem; padding-bottom: .25em; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; }
.wide { overflow-x: auto; margin: 1em 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35em .8em; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--band); font-weight: 600; }
td { white-space: nowrap; }
img { display: block; max-width: 100%; margin: 1.2em 0; border-radius: 6px; background: #fff; }
code { font: .875em ui-monospace, "DejaVu Sans Mono", monospace; background: var(--band); padding: .1em .3em; }
@media print {
  :root { color-scheme: light; --text: #000; --page: #fff; --quiet: #444; --line: #bbb; --band: #f2f2f2; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h1, h2, h3 { break-after: avoid; }
  td { white-space: normal; }
  img, tr { break-inside: avoid; }
  img { max-height: 24cm; }
}
"""


def report_html(markdown: str, title: str, folder: Path) -> str:
    """The page. folder: where the figures are; one that is not there is replaced by its caption."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            if child.type == "image":
                _take_in(child, folder)
    body = parser.renderer.render(tokens, parser.options, {})
    body = re.sub(r"<th>.*?</th>", lambda cell: re.sub(r"(_|(?<=\w)/)(?=\w)", r"\1<wbr>", cell[0]), body)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _take_in(image: Token, folder: Path) -> None:
    path = folder / str(image.attrs["src"])
    if path.is_file():
        image.attrs["src"] = f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}"
    else:
        image.type = "text"
