"""Stage 6, for people: the measured front as a page and as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from bitfront.experiments.plots import FrontPicture, write_front
from bitfront.experiments.rows import front_rows, rows_of_device
from bitfront.experiments.run import Run


def write_plots(run: Run) -> None:
    """Write ``front.html`` and ``front.png`` into the experiment's folder; of several devices ``front-NAME``."""
    hypervolumes = [generation.hypervolume for generation in run.store.generations(run.experiment_id)]
    rows = front_rows(run.store, run.experiment_id)
    for device in run.spec.named_devices:
        picture = FrontPicture(
            rows=rows_of_device(rows, device),
            objectives=_of_device(run.spec.objectives, device),
            hypervolumes=hypervolumes,
            title=run.spec.name,
            device=device,
            step="epoch" if run.spec.search.islands.wanted else "generation",
        )
        page, _ = write_front(run.folder, picture, f"front-{device}" if run.spec.devices else "front")
        run.reporter.say(f"front drawn: {page}")


def _of_device(objectives: Sequence[str], device: str) -> list[str]:
    """Objectives that a device has a part in, by their plain names."""
    parts = [name.partition("@") for name in objectives]
    return [base for base, _, of in parts if of in ("", device)]
