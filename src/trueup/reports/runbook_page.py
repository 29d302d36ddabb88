"""A runbook's Markdown as one page of HTML: no other file, no script; made by markdown-it, which lets no HTML of a text through."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from trueup.reports.page import page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

_STYLE = """
:root { font-size: 16px; } main { max-width: 52rem; } h1 { margin-bottom: .6rem; }
h2 { border: 0; padding: 0; font-size: 1.15rem; margin-top: 1.5rem; }
ul, ol { margin: .3rem 0; padding-left: 1.5rem; } li { margin: .25rem 0; } table { margin: .4rem 0; }
td { overflow-wrap: anywhere; min-width: 5rem; } code { font: .92em ui-monospace, monospace; }
footer { color: #5b6675; font-size: .8rem; margin-top: 2rem; border-top: 1px solid #d8dee8; padding-top: .4rem; }
@media print { :root { font-size: 12px; } h2 { margin-top: .9rem; padding: 0; } }
"""
_ROLES = {
    "table_open": "table", "thead_open": "rowgroup", "tbody_open": "rowgroup", "tr_open": "row", "th_open": "columnheader",
    "td_open": "cell",
}  # fmt: skip
_LONG = 26
_TABLE = re.compile(r"(<table[^>]*>)")
_BOX = re.compile(r"<li>(<p>)?\[ \] ")
_PAGE = re.compile(r'(<a href="[^":/]+)\.md(">)')


def runbook_page(title: str, text: str, footer: str) -> str:
    """The page, whole. Check points become boxes to tick on paper, and links to other runbooks lead to their pages."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    _label(tokens)
    body = reader.renderer.render(tokens, reader.options, {})
    body = _BOX.sub(lambda found: f"<li>{found[1] or ''}☐ ", body)
    body = _PAGE.sub(r"\1.html\2", body).replace(
        '<th role="columnheader"></th>', '<td role="cell"></td>'
    )  # a heading without words is none
    body = _TABLE.sub(r'<div class="scroll" role="group" tabindex="0" aria-label="table">\1', body).replace("</table>", "</table></div>")
    return page(title, [body, f"<footer>{escape(footer)}</footer>"], _STYLE)


def _label(tokens: Sequence[Token]) -> None:
    """Let each cell of a table with headings name its column, for cards, and keep its role where it becomes one."""
    table: Token | None = None
    heads: list[str] = []
    column = 0
    for token, following in pairwise([*tokens, *tokens[-1:]]):
        if token.type == "table_open":
            table, heads = token, []
        elif token.type == "tr_open":
            column = 0
        elif token.type == "th_open":
            heads.append(following.content)
        elif token.type == "tbody_open" and table is not None and all(heads):
            table.attrSet("class", "cards")
        elif token.type == "td_open":
            if table is not None and table.attrGet("class"):
                token.attrs |= {"role": "cell", "data-h": heads[column]}
                if len(following.content) > _LONG:
                    token.attrSet("class", "l")
            column += 1
        role = _ROLES.get(token.type)
        if role is not None:
            token.attrSet("role", role)
