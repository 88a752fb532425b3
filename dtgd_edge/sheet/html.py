"""HTML that no file name of a foreign system can break out of, and the look of every sheet."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template


def head(title: str) -> str:
    """How every sheet begins: nothing is fetched from elsewhere, and its style sheet is left open for more.

    Args:
        title: of the window, any text.
    """
    own = files("dtgd_edge.sheet")
    # Colours, type, tables, charts, on a screen, a phone and paper.
    style = (own / "style.css").read_text("utf-8")
    return Template((own / "head.html").read_text("utf-8")).substitute(title=safe(title), style=style)


def safe(text: object) -> str:
    """Any text, a file name from a foreign system included, as HTML text or attribute."""
    # File names may hold bytes that are no UTF-8; Python carries them as lone surrogates.
    return escape(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


def minute_text(created: str) -> str:
    """A time in ISO 8601 and UTC, to the minute."""
    return created[:16].replace("T", " ") + " UTC"


def table(
    title: str | None, columns: Sequence[str], rows: Sequence[Sequence[str]], strong: Iterable[int] = ()
) -> str:
    """A table of HTML texts; the first column names the row, `strong` rows stand out."""
    caption = "" if title is None else f"<caption>{title}</caption>"
    names = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "\n".join(
        f'<tr{" class=all" if index in strong else ""}><th scope="row">{row[0]}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for index, row in enumerate(rows)
    )
    return (
        f'<div class="wide sheet"><table>{caption}<thead><tr>{names}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )
