"""One page with every figure, which opens offline."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path

from alexnet.files import write_text


@dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Attributes:
        name: of its files.
        title, caption: what it is and how to read it.
        png: the picture.
        width: in pixels on the page.
    """

    name: str
    title: str
    caption: str
    png: Path
    width: int


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .3rem; }}
p {{ max-width: 46rem; margin: .2rem 0 .8rem; color: #3b444d; }}
img {{ max-width: 100%; height: auto; }}
</style>
<h1>{title}</h1>
<p>{introduction}</p>
{sections}
</html>
"""


def write_page(path: Path, title: str, introduction: str, shown: list[Shown]) -> None:
    """Write the page, pictures inside; each leads to its drawing in the same folder.

    Raises:
        CannotWriteError: it cannot be written.
    """
    sections = "\n".join(_section(figure) for figure in shown)
    text = _PAGE.format(
        title=html.escape(title), introduction=html.escape(introduction), sections=sections
    )
    write_text(path, text)


def _section(figure: Shown) -> str:
    picture = base64.b64encode(figure.png.read_bytes()).decode("ascii")
    return (
        f'<section id="{figure.name}"><h2>{html.escape(figure.title)}</h2>'
        f"<p>{html.escape(figure.caption)}</p>"
        f'<a href="{figure.name}.svg" title="to be scaled: {figure.name}.svg">'
        f'<img width="{figure.width}" alt="{html.escape(figure.title)}" '
        f'src="data:image/png;base64,{picture}"></a></section>'
    )
