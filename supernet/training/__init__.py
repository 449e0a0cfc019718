"""Training a supernet: the largest network, then every architecture, then every number format.

1. *warm-up*: the largest network alone, in real numbers.
2. every architecture, by one of two schedules. *Sandwich* (Yu and Huang 2019), in one phase: each step trains the
   largest, the smallest and some random networks, and all but the largest learn from the largest one's answers
   (in-place distillation). *Progressive shrinking* (Once-for-All, Cai et al. 2020), in five: kernels become
   elastic, then depths, then widths; the random networks of a step learn from labels and from the answers of the
   largest network as the warm-up left it.
3. *quantized*: the sandwich with number formats drawn as well and step sizes learned (LSQ, Esser et al. 2020), so
   that any policy runs without fine-tuning. The largest network stays in real numbers and teaches.

Hidden channels are sorted by importance before widths become elastic. What a step draws depends on (seed, epoch,
step) alone, so that a resumed run repeats an undisturbed one.
"""

from bitfront.supernet.training.phases import Phase, phases_of
from bitfront.supernet.training.report import EpochReport
from bitfront.supernet.training.settings import TrainingSettings
from bitfront.supernet.training.trainer import Trainer

__all__ = ["EpochReport", "Phase", "Trainer", "TrainingSettings", "phases_of"]
