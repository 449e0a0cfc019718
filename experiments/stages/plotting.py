"""Stage 6, for people: the front as a page and as a picture."""

from __future__ import annotations

from bitfront.experiments.plots import front_figure_html, front_figure_png
