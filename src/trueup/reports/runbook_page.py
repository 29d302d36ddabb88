"""A runbook's Markdown as one page of HTML: no other file, no script; made by markdown-it, which lets no HTML of a text through."""

from __future__ import annotations

import re
from html import escape

from markdown_it import MarkdownIt

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 52rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .6rem; } h2 { font-size: 1.15rem; margin: 1.5rem 0 .3rem; }
p, ul, ol { margin: .3rem 0; } ul, ol { padding-left: 1.5rem; } li { margin: .25rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .4rem 0; }
th { text-align: left; border-bottom: 2px solid #d8dee8; padding: .25rem .5rem; } th:empty { padding: 0; }
td { border-bottom: 1px solid #e8ecf2; padding: .25rem .5rem; vertical-align: top; overflow-wrap: anywhere; }
code { font: .92em ui-monospace, monospace; background: #f2f4f8; border-radius: .2rem; padding: 0 .25rem; overflow-wrap: anywhere; }
footer { color: #5b6675; font-size: .8rem; margin-top: 2rem; border-top: 1px solid #d8dee8; padding-top: .4rem; }
@page { margin: 14mm; }
@media print { body { max-width: none; padding: 0; font-size: 11px; line-height: 1.35; } h2 { margin-top: .9rem; break-after: avoid; }
  tr, li { break-inside: avoid; } .scroll { overflow: visible; } a { color: inherit; text-decoration: none; } }
"""
_BOX = re.compile(r"<li>(<p>)?\[ \] ")
_PAGE = re.compile(r'(<a href="[^":/]+)\.md(">)')


def runbook_page(title: str, text: str, footer: str) -> str:
    """The page, whole. Check points become boxes to tick on paper, and links to other runbooks lead to their pages."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = _BOX.sub(lambda found: f"<li>{found[1] or ''}☐ ", body)
    body = _PAGE.sub(r"\1.html\2", body).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
    )
