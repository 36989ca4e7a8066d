"""Pages of records, in Markdown, as parts of the report: nothing is linked that the report does not hold."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from thinlens.errors import RecordError
from thinlens.report.records import Picture

DEPTH = 2  # a page's title is a heading of the report's third level, below the group that it is in
OUTSIDE = ("https://", "http://")


def split_title(text: str) -> tuple[str, str]:
    """A page's title, without ``# ``, and what follows; the first line is the title."""
    title, _, body = text.partition("\n")
    return re.sub(r"[`*]", "", title.removeprefix("#").strip()), body


def to_html(text: str, title: str, pages: Collection[str], picture: Callable[[str], Picture]) -> str:
    """Render a page's text.

    HTML in it is shown, not obeyed. Tables get captions, headers with a scope and a box to scroll in; pictures are
    inlined; links between pages lead within the report, other links into the repository become text.

    Args:
        text: Markdown without its title.
        title: the page's, which names tables that stand before any other heading.
        pages: names of the pages that the report holds.
        picture: reads one by its path.
    """
    parser = MarkdownIt("commonmark", {"html": False, "xhtmlOut": False}).enable("table")
    tokens = parser.parse(text)
    for token in tokens:
        token.children = token.children and list(_inline(token.children, pages, picture))
    html: str = parser.renderer.render(list(_blocks(tokens, title)), parser.options, {})
    return html


def _inline(tokens: Sequence[Token], pages: Collection[str], picture: Callable[[str], Picture]) -> Iterator[Token]:
    """Pictures inlined; links that lead nowhere left out."""
    kept: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            page = target.split("#")[0].removesuffix(".md")
            kept.append(target.startswith(OUTSIDE) or page in pages)
            if page in pages:
                token.attrSet("href", f"#page-{page}")
            if not kept[-1]:
                continue
        elif token.type == "link_close" and not kept.pop():
            continue
        elif token.type == "image":
            try:
                token.attrSet("src", picture(str(token.attrGet("src"))).url)
            except RecordError:
                token = Token("text", "", 0, content=f"[{token.content}]")
        yield token


def _blocks(tokens: Sequence[Token], title: str) -> Iterator[Token]:
    """Headings moved below the report's own; tables made readable for all."""
    heading, tag = title, ""
    for at, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + DEPTH)}"
            heading = tokens[at + 1].content if token.nesting == 1 else heading
        elif token.type in ("th_open", "td_open"):
            tag = _open_cell(token, first=tokens[at - 1].type == "tr_open", empty=not tokens[at + 1].content)
        elif token.type in ("th_close", "td_close"):
            token.tag = tag
        if token.type == "table_open":
            yield _raw(f'<div class="scroll" role="group" tabindex="0" aria-label="{escapeHtml(heading)}">')
            yield token
            yield _raw(f'<caption class="unseen">{escapeHtml(heading)}</caption>')
        elif token.type == "table_close":
            yield token
            yield _raw("</div>")
        else:
            yield token


def _open_cell(token: Token, *, first: bool, empty: bool) -> str:
    """Make a cell a header or not, and its alignment a class; return its tag."""
    if token.attrs.pop("style", None) == "text-align:right":
        token.attrSet("class", "num")
    head = token.type == "th_open"
    token.tag = "th" if (head or first) and not empty else "td"
    if token.tag == "th":
        token.attrSet("scope", "col" if head else "row")
    return token.tag


def _raw(html: str) -> Token:
    return Token("html_block", "", 0, content=html)
