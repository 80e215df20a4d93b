"""A self-contained web page: the shell, its style and scripts, and tables that can be sorted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

import numpy as np

from evogen.experiment.tables import Entry, Table

#: The page may use nothing but what it holds: a browser refuses every request to a network.
#: Figures in three dimensions compile their shaders' glue code, hence `unsafe-eval`.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:"
)

_MARK_CLASSES = {"+": "better", "-": "worse", "=": "same"}
_MARK_TEXTS = {"+": "+", "-": "\N{MINUS SIGN}", "=": "="}


def page(
    title: str,
    body: str,
    contents: Sequence[tuple[str, str]],
    *,
    scripts: Sequence[str] = (),
    data: Any = None,
) -> str:
    """A whole page that needs no other file and no network.

    Args:
        title: Of the window.
        body: What stands in `<main>`, as HTML.
        contents: Anchors and texts of the table of contents.
        scripts: JavaScript besides the one of the tables, in order.
        data: JSON values for the scripts, in the element `#data`.
    """
    links = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in contents)
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
        f"<title>{escape(title)}</title>",
        f"<style>{asset('page.css')}</style>\n</head>\n<body>\n<div class='layout'>",
        f'<nav class="contents" aria-label="Contents"><ul>{links}</ul></nav>',
        f"<main>\n{body}\n</main>\n</div>",
    ]
    if data is not None:
        parts.append(f'<script id="data" type="application/json">{_inert(data)}</script>')
    parts += [f"<script>{script}</script>" for script in (asset("tables.js"), *scripts)]
    return "\n".join([*parts, "</body>\n</html>\n"])


def asset(name: str) -> str:
    """Text of a file in the folder `page`."""
    return (resources.files("evogen.experiment") / "page" / name).read_text(encoding="utf-8")


def to_html(table: Table, *, shade: int = 0) -> str:
    """A sortable table, with its caption below.

    Args:
        table: The table; a last row that counts marks stays at the bottom.
        shade: Colour the fields after the first two by their values, this being the largest
            (wins minus losses); 0 colours none.
    """
    rows = list(table.rows)
    totals = [rows.pop()] if rows and rows[-1][0].text == "+ / = / -" else []
    wordy = [_is_wordy([row[i] for row in rows]) for i in range(len(table.header))]
    head = "".join(
        f'<th scope="col"{" class=words" if words else ""}>{escape(name)}</th>'
        for name, words in zip(table.header, wordy, strict=True)
    )
    body = "\n".join(_row(row, wordy, shade) for row in rows)
    foot = f"<tfoot>{''.join(_row(row, wordy, 0) for row in totals)}</tfoot>" if totals else ""
    caption = f'<p class="caption">{escape(table.caption)}</p>' if table.caption else ""
    return (
        f'<div class="wide"><table class="sortable"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}</table></div>\n{caption}"
    )


def number_json(values: Any, digits: int = 4) -> Any:
    """Numbers with so many significant digits as (nested) lists; None for what is not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim == 0:
        return float(f"{array:.{digits}g}") if np.isfinite(array) else None
    if array.ndim > 1:
        return [number_json(row, digits) for row in array]
    return [
        (int(v) if v == int(v) and abs(v) < 1e15 else float(f"{v:.{digits}g}"))
        if np.isfinite(v)
        else None
        for v in array.tolist()
    ]


def _inert(data: Any) -> str:
    """JSON in which nothing can end the element that holds it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _is_wordy(column: Sequence[Entry]) -> bool:
    """Whether a column holds texts, to be read from the left, and no numbers."""
    return all(e.value is None for e in column) and any(
        character.isalpha() for e in column for character in e.text
    )


def _row(entries: Sequence[Entry], wordy: Sequence[bool], shade: int) -> str:
    first = f'<th scope="row">{escape(entries[0].text)}</th>'
    fields = [_field(e, wordy[i], shade if i > 1 else 0) for i, e in enumerate(entries) if i]
    return f"<tr>{first}{''.join(fields)}</tr>"


def _field(entry: Entry, words: bool, shade: int) -> str:
    classes, more = [], ""
    if words:
        classes.append("words")
    if entry.best:
        classes.append("best")
    if entry.value is not None and not np.isnan(entry.value):
        more += f' data-v="{"inf" if np.isinf(entry.value) else repr(float(entry.value))}"'
        if shade:
            classes.append("net")
            more += _shading(entry.value / shade)
    mark = ""
    if entry.mark:
        mark = f'<span class="mark {_MARK_CLASSES[entry.mark]}">{_MARK_TEXTS[entry.mark]}</span>'
    named = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{named}{more}>{escape(entry.text)}{mark}</td>"


def _shading(share: float) -> str:
    percent = round(45 * min(1.0, abs(share)))
    if percent == 0:
        return ""
    kind = "--good" if share > 0 else "--bad"
    return f' style="background:color-mix(in srgb,var({kind}) {percent}%,transparent)"'
