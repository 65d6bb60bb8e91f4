"""Figure 4, right: for each query the training images nearest in the last hidden layer."""

from typing import TYPE_CHECKING

from alexnet.figures.style import BLUE, INK, MUTED, ORANGE, Picture, new_figure, shorten, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def neighbors_figure(
    queries: list[tuple[Picture, str]], found: list[list[tuple[Picture, str, float]]]
) -> "Figure":
    """A row for each query; neighbours of its own class have a solid blue frame, others dashed.

    Args:
        queries: picture and class.
        found: for each query its neighbours, nearest first: picture, class, distance.
    """
    across = 1 + len(found[0])
    figure = new_figure(1.25 * across, 1.5 * len(queries) + 0.3)
    cells = figure.subplots(len(queries), across, squeeze=False)
    for row, (picture, name), nearest in zip(cells, queries, found, strict=True):
        show(row[0], picture)
        row[0].set_title(shorten(name, 18), fontsize=8, color=INK, fontweight="bold")
        for cell, (neighbor, its_name, distance) in zip(row[1:], nearest, strict=True):
            cell.imshow(neighbor)
            cell.set_xticks([])
            cell.set_yticks([])
            same = its_name == name
            for spine in cell.spines.values():
                spine.set_edgecolor(BLUE if same else ORANGE)
                spine.set_linewidth(2.5)
                spine.set_capstyle("butt")
                spine.set_linestyle("-" if same else (0, (3, 1.5)))
            words = f"{shorten(its_name, 14)}\n{distance:.3g}"
            cell.set_title(words, fontsize=7, color=MUTED)
    return figure
