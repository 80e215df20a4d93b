"""Tables as LaTeX (booktabs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evogen.experiment.tables import Entry, Table

#: What a document needs to hold the tables.
PREAMBLE = r"""% Tables written by evogen. In the preamble: \usepackage{booktabs,graphicx}
% \documentclass{article} \usepackage{booktabs,graphicx} \begin{document} \input{tables}
% \end{document} is a document that holds them.
"""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}

#: Signs of significance; all three have the width of a binary operator.
_MARKS = {"+": "$+$", "=": "$\\approx$", "-": "$-$"}


def escape(text: str) -> str:
    """A text with LaTeX's special characters made plain.

    >>> escape("a_b & 50 %")
    'a\\\\_b \\\\& 50 \\\\%'
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def to_latex(table: Table, label: str = "") -> str:
    """A `table` environment: booktabs rules, best values bold, marks behind the values.

    Args:
        table: The table.
        label: For `\\ref`, without `tab:`; none when empty.

    Wide tables are shrunk to the width of the text, by graphicx.
    """
    columns = "l" + "r" * (len(table.header) - 1)
    wide = len(table.header) > 5
    totals = _totals(table)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}",
    ]
    if label:
        lines.append(rf"\label{{tab:{label}}}")
    if wide:
        lines.append(r"\resizebox{\textwidth}{!}{%")
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [_line([escape(name) for name in table.header]), r"\midrule"]
    for i, row in enumerate(table.rows):
        if i == len(table.rows) - totals:
            lines.append(r"\midrule")
        lines.append(_line([_entry(entry) for entry in row]))
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else ""), r"\end{table}"]
    return "\n".join(lines) + "\n"


def write_latex(tables: Sequence[tuple[str, Table]], path: str | Path) -> Path:
    """Write tables, by name, into one file to be put into a document with `\\input`."""
    text = "\n".join(to_latex(table, name) for name, table in tables)
    Path(path).write_text(PREAMBLE + "\n" + text, encoding="utf-8")
    return Path(path)


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.best:
        text = rf"\textbf{{{text}}}"
    return f"{text} {_MARKS[entry.mark]}" if entry.mark else text


def _line(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"


def _totals(table: Table) -> int:
    """1 if the last row counts marks."""
    return int(bool(table.rows) and table.rows[-1][0].text == "+ / = / -")
