"""Pictures of a front: an interactive page that needs no network, and a PNG.

Each member is drawn where it was measured, with a thin line from where it was predicted. Members that others
dominate are hollow. Colour and size of a mark both show a third objective, in a palette for all eyes.
"""

from __future__ import annotations

from pathlib import Path

from bitfront.experiments.plot_html import front_figure_html
from bitfront.experiments.plot_png import front_figure_png
from bitfront.experiments.plot_points import FrontPicture
from bitfront.supernet.files import write_bytes, write_text

__all__ = ["FrontPicture", "front_figure_html", "front_figure_png", "write_front"]


def write_front(folder: Path, picture: FrontPicture, name: str = "front") -> tuple[Path, Path]:
    """Write ``NAME.html`` and ``NAME.png`` into ``folder`` and return their paths.

    Raises:
        StorageError: the folder can not be written.
    """
    page, image = folder / f"{name}.html", folder / f"{name}.png"
    write_text(page, front_figure_html(picture))
    write_bytes(image, front_figure_png(picture))
    return page, image
