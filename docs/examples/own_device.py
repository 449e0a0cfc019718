"""Your own device: a model of a microcontroller in thirty lines, a table of its costs, and networks for it.

    python docs/examples/own_device.py FOLDER

Everything is written below FOLDER; a minute of a core. There are three ways to bring a device:

1. A class says what a layer costs. It is used as it is from Python, and by name, `device: my-mcu` in any spec,
   once a package of yours has this file and the entry point

       [project.entry-points."bitfront.devices"]
       my-mcu = "my_package.own_device:my_mcu"

2. A table says what each block costs. Here it is computed by the class; it may as well come from a program of
   yours that runs on the device, or from a bundle (`bitfront device bundle`), which times models by itself where
   Python and a runtime are at hand. docs/devices.md explains the columns.
3. A data sheet in ten lines of YAML: the device `roofline`, see docs/devices.md.
"""

import sys
from pathlib import Path

import numpy as np

from bitfront.experiments.device_import import import_device
from bitfront.experiments.pipeline import run_experiment
from bitfront.experiments.reporter import Reporters
from bitfront.experiments.rows import read_front
from bitfront.experiments.spec import spec_from
from bitfront.experiments.stages.exporting import export_candidate
from bitfront.experiments.store.home import open_store
from bitfront.latency_lut.analytic import AnalyticDevice
from bitfront.latency_lut.imports.own import write_csv
from bitfront.supernet.spaces import SPACES

CYCLES_PER_MAC = {
    "int8": 0.6,
    "int6": 0.9,
    "int4": 0.9,
}  # by the weights' format: below 8 bits they are unpacked first
DEPTHWISE = 3.0  # as many times, as nothing is shared between channels
CYCLES_PER_LAYER = 2_000


class MyMcu(AnalyticDevice):
    """A microcontroller without a floating-point unit, one image a call; ``mhz`` is its clock."""

    name = "my-mcu"
    costs = ("latency_ms",)  # "energy_mj" may be a second one

    def __init__(self, mhz=80.0):
        self.mhz = mhz

    def executable(self, op):
        """The pairs of formats that it runs, weights and activations; a search never leaves them."""
        return frozenset((weights, "int8") for weights in CYCLES_PER_MAC)

    def layer_costs(self, works):
        """Milliseconds of one call, shape (n, 1), for n layers; a block costs the sum of its layers."""
        layers = [work.layer for work in works]
        per_mac = [
            CYCLES_PER_MAC[one.weight_format] * (DEPTHWISE if one.op == "depthwise" else 1) for one in layers
        ]
        cycles = np.array([one.macs for one in layers]) * per_mac + CYCLES_PER_LAYER
        return (cycles / (self.mhz * 1e3))[:, None]

    def provenance(self):
        """Where the numbers come from: kept with every table, and shown with every front and export."""
        return {"model": "cycles per multiply-accumulate, from a data sheet", "mhz": self.mhz, "batch": 1}


def my_mcu(mhz=80.0):
    """The device; options of a spec come as keywords."""
    return MyMcu(mhz)


def spec_for(device):
    """What is asked for; with a third of the usual epochs and a fifth of the samples, as this is an example."""
    return {
        "name": "mcu",
        "space": "digits",
        "data": "digits",
        "device": device,
        "objectives": ["top1", "latency_ms", "size_bytes"],
        "constraints": ["latency_ms <= 8", "size_bytes <= 40000"],
        "supernet": {"warmup_epochs": 4, "elastic_epochs": 12, "quantized_epochs": 6, "subnets_per_step": 2},
        "samples": {"fp32": 60, "quantized": 30, "held_out": 20},
        "export": {"pick": "none"},  # below
    }


def main(folder):
    """Cost a network from Python, make a table, import it, search, and export C."""
    home, space, device = folder / "home", SPACES.get("digits")(), MyMcu()

    # From Python the class is all that is needed: a cost model takes whole batches of networks.
    own = device.restrict(space)
    costs = device.compile(space).cost(own.sample(1000, np.random.default_rng(0)))
    print(f"1000 random networks take {costs['latency_ms'].min():.1f} to {costs['latency_ms'].max():.1f} ms")

    # As a table it is a device of the home, by a name: what follows would be the same for measured times.
    table = folder / "my-board.csv"
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(device.table(own, None, np.random.default_rng(0)), table)
    done = import_device(home, table, "my-board", space, "csv", force=True)
    print(f"{table} has {len(done.table.entries)} blocks")

    spec = spec_from(spec_for("my-board"), home=home)
    with open_store(home) as store:
        experiment = store.create_experiment(spec.name, spec.as_json(), spec.seed)
        run_experiment(store, home, experiment.id, Reporters())
        front = read_front(store, experiment.id)
        kept = front.take(~front.dominated)  # as measured
        print(kept.to_pandas()[["id", "top1", "latency_ms", "size_bytes"]].to_string(index=False))
        best = int(kept.ids[kept.best_known["top1"].argmax()])
        # All of its layers are integer ones, so that it can be C99 without a library.
        (bundle,) = export_candidate(store, home, experiment.id, best, "c", folder / "model")
    form = bundle.manifest.forms[0]
    print(
        f"candidate {best} is {bundle.folder / form.main_file}: {form.described['size_bytes']} bytes of constants"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "mcu").absolute())
