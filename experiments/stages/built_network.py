"""The network of a candidate with its weights: out of the supernet, and fine-tuned where that is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bitfront.experiments.run import Run
from bitfront.experiments.stages.promises import Network
from bitfront.experiments.stages.supernet import supernet_folder
from bitfront.supernet.errors import UnsupportedError
from bitfront.supernet.evaluation import Evaluator
from bitfront.supernet.finetuning import Finetuned, FinetuningSettings, finetune
from bitfront.supernet.network import Supernet
from bitfront.supernet.progress import Progress
from bitfront.supernet.subnet import Subnet
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.trained import load_weights


@dataclass(frozen=True, slots=True)
class Tuned:
    """How a network was fine-tuned, and what came of it."""

    settings: FinetuningSettings
    done: Finetuned

    @property
    def top1(self) -> float | None:
        """Validation accuracy of the network that is exported, None where that is the one from before."""
        return self.done.top1_after if self.done.kept else None

    def document(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            **asdict(self.settings),
            "top1_validation_before": self.done.top1_before,
            "top1_validation_after": self.done.top1_after,
            "exported": "fine-tuned" if self.done.kept else "as it was before",
        }


def ready_supernet(run: Run) -> tuple[Supernet, str]:
    """The experiment's (supernet, its id).

    Raises:
        UnsupportedError: it is not trained yet.
        MissingFileError, CorruptFileError: its weights can not be read.
    """
    supernet_id = run.store.get(run.experiment_id).supernet_id
    record = run.store.supernet(supernet_id) if supernet_id else None
    if supernet_id is None or record is None or record.state != "ready":
        raise UnsupportedError(
            f"experiment {run.experiment_id} has no trained supernet yet: resume it before you export from it"
        )
    supernet = Supernet(run.space())
    load_weights(supernet, supernet_folder(run.home, supernet_id))
    return supernet, supernet_id


def built_network(
    run: Run, evaluator: Evaluator, network: Network, epochs: int, progress: Progress
) -> tuple[Subnet, Tuned | None]:
    """The network, fine-tuned for ``epochs``.

    Raises:
        NumericalError: fine-tuning diverged.
    """
    supernet, dataset = evaluator.supernet, evaluator.dataset
    if not epochs:
        return evaluator.subnet(supernet.space.blocks(network.genome)), None
    settings = FinetuningSettings.like(TrainingSettings(**run.spec.supernet.training()), epochs)
    rng, images = run.rng("fine-tuning"), run.spec.supernet.calibration_images
    done = finetune(supernet, dataset, network.genome, settings, rng, images, progress)
    run.reporter.say(
        f"fine-tuned {network.label}: validation accuracy {done.top1_before:.2%} before, "
        f"{done.top1_after:.2%} after{'' if done.kept else '; it is exported as it was before'}"
    )
    return done.subnet, Tuned(settings, done)
