"""``example.py``: ten lines that run a form on a sample image, for people to begin with."""

from __future__ import annotations

import sys

from bitfront.experiments.bundle.manifest import FormEntry
from bitfront.experiments.bundle.names import EXAMPLE, MANIFEST, SAMPLES
from bitfront.supernet.export.targets import TARGETS
from bitfront.supernet.export.targets.base import Example, ExportOptions

_FRAME = '''"""Names the class of a sample image, in the folder that this file is in. Needs numpy, {needs}."""

{imports}

images = np.load("{samples}")["images"][:1]  # normalised and resized, as {manifest} says
{run}
shares = np.exp(logits[0] - logits[0].max())
classes = json.load(open("{manifest}"))["preprocessing"]["classes"]
print(classes[int(logits[0].argmax())], f"{{shares.max() / shares.sum():.1%}}")
'''


def example_name(form: FormEntry, main: str) -> str:
    """The file of a form's example; ``main`` is the bundle's main form."""
    return EXAMPLE if form.format == main else EXAMPLE.replace(".", f"_{form.format}.")


def example_files(forms: tuple[FormEntry, ...], main: str) -> dict[str, bytes]:
    """An example for each form whose target is known here and has one, by file name."""
    found = {}
    for form in (one for one in forms if one.format in TARGETS.names()):
        example = TARGETS.get(form.format).example(ExportOptions(form.runtime), form.described)
        if example is not None:
            found[example_name(form, main)] = _text(example).encode()
    return found


def _text(example: Example) -> str:
    imports = sorted(["import json", "import numpy as np", *example.imports], key=lambda line: line.split()[:2])
    groups = [[line for line in imports if _is_standard(line) == is_standard] for is_standard in (True, False)]
    return _FRAME.format(
        needs=example.needs,
        imports="\n\n".join("\n".join(lines) for lines in groups),
        run="\n".join(example.run),
        samples=SAMPLES,
        manifest=MANIFEST,
    )


def _is_standard(line: str) -> bool:
    return line.split()[1] in sys.stdlib_module_names
