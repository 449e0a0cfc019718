"""Stage 6, for people: the measured front as a page and as a picture."""

from __future__ import annotations

from bitfront.experiments.plots import FrontPicture, write_front
from bitfront.experiments.rows import front_rows
from bitfront.experiments.run import Run


def write_plots(run: Run) -> None:
    """Write ``front.html`` and ``front.png`` into the experiment's folder."""
    generations = run.store.generations(run.experiment_id)
    picture = FrontPicture(
        rows=front_rows(run.store, run.experiment_id),
        objectives=run.spec.objectives,
        hypervolumes=[generation.hypervolume for generation in generations],
        title=run.spec.name,
        device=run.spec.device.name,
        step="epoch" if run.spec.search.islands.wanted else "generation",
    )
    page, _ = write_front(run.folder, picture)
    run.reporter.say(f"front drawn: {page}")
