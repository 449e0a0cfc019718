"""Whether a bundle is what it says: everything in it that can be worked out anew is, and compared.

That shows damage, and files that do not belong together. It does not show who wrote a bundle: whoever can write
all files of it can make others that fit each other. No program that is read is run, only what this bitfront itself
would write for the same network; see `ExportTarget.logits`. What can not be made again is run where it is data
(`ExportTarget.is_data`), and compared with the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bitfront.experiments.bundle.bundle_checks import BundleChecks
from bitfront.experiments.bundle.checks import Check, checked
from bitfront.experiments.bundle.form_checks import MADE_AGAIN
from bitfront.experiments.bundle.manifest import Manifest, read_manifest
from bitfront.experiments.bundle.names import MANIFEST
from bitfront.experiments.bundle.reading import look_at_sums, read_bundle
from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import DataError, Dataset
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.progress import Progress, silent


def verify(folder: Path, data: str | None = None, progress: Progress = silent) -> list[Check]:
    """Look at all there is in a bundle.

    Args:
        folder: of the bundle.
        data: the data set that it was tested on, to measure accuracy again: a published one's name, or the path of
            a user's own files.
        progress: told of the images.

    Raises:
        MissingFileError: there is no bundle.
        CorruptFileError: it holds what no bundle can, so that it is not read.
        StorageError: a file can not be read.
        DataError, UnknownNameError: there is no such data set.
    """
    files = read_bundle(folder)
    found = [checked("files", lambda: look_at_sums(files))]
    if found[0].state == "fails":
        why = "the files are not those that were written together"
        return [*found, Check("all else", "not possible", why)]
    found.append(checked("manifest", lambda: f"version {_manifest(files).version}, with all that belongs in one"))
    if found[1].state == "fails":
        return [*found, Check("all else", "not possible", "what there is to compare stands in the manifest")]
    manifest = _manifest(files)
    dataset = None if data is None else _dataset(data, manifest, progress)
    return [*found, *BundleChecks(files, manifest, dataset, progress).all()]


def failed(checks: list[Check]) -> bool:
    """Whether something is not as it should be."""
    return any(check.state == "fails" for check in checks)


def not_made(checks: list[Check]) -> list[str]:
    """The forms that could not be made again, so that nothing proves that they are the network's."""
    states = {check.name: check.state for check in checks}
    ending = f": {MADE_AGAIN}"
    return [name.removesuffix(ending) for name in states if name.endswith(ending) and states[name] != "holds"]


def verified(checks: list[Check]) -> bool:
    """Whether nothing is wrong and every form was made again, byte for byte."""
    return not failed(checks) and not not_made(checks)


def _manifest(files: Mapping[str, bytes]) -> Manifest:
    if MANIFEST not in files:
        raise ValueError(f"{MANIFEST} is missing")
    return read_manifest(files[MANIFEST], MANIFEST)


def _dataset(source: str, manifest: Manifest, progress: Progress) -> Dataset:
    """A user's own files are read as the manifest says."""
    path, settings = Path(source).expanduser(), manifest.data.settings
    if settings is None or not path.exists():
        return load_dataset(source, progress)
    try:
        own = DataSettings(path=str(path), name=path.name, **settings)  # type: ignore[arg-type]
    except TypeError as error:
        raise DataError(f"the manifest does not say how {path} is to be read ({error})") from error
    return load_dataset(own, progress)
