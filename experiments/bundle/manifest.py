"""What ``manifest.json`` holds. Readers may rely on these fields; docs/export.md tells the same in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bitfront.supernet.errors import CorruptFileError

VERSION = 1
_Text = Annotated[str, Field(max_length=10_000)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    """Nothing else is in it, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class FileEntry(_Part):
    """A file of a form."""

    sha256: _Digest
    size_bytes: Annotated[int, Field(ge=0)]


class Tested(_Part):
    """The form itself, run on test images.

    ``top1`` is its accuracy, ``agreement`` the share of images to which it gives the class that the fake-quantized
    network gives; both are of ``images`` images of a split of ``images_of_split``. ``why`` says why these are not
    all, or none.
    """

    split: Literal["test"] = "test"
    images: Annotated[int, Field(ge=0)]
    images_of_split: Annotated[int, Field(ge=1)]
    top1: _Share | None
    agreement: _Share | None
    why: _Text = ""


class FormEntry(_Part):
    """A form of the network. ``described`` is what its target says of it; see there."""

    format: _Text
    main_file: _Text
    runtime: Literal["onnxruntime", "openvino"]
    files: dict[str, FileEntry]
    described: dict[str, Any]
    tested: Tested


class LeftOutEntry(_Part):
    """A format that could not hold the network."""

    format: _Text
    why: _Text


class Preprocessing(_Part):
    """How an image becomes the network's input: ``steps``, in this order.

    ``shape`` is that of the input, ``pixels`` that of an image of the data set: channels, height, width.
    """

    layout: Literal["NCHW float32"] = "NCHW float32"
    shape: tuple[Literal["batch"], int, int, int]
    pixels: tuple[int, int, int]
    steps: tuple[_Text, ...]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    classes: tuple[_Text, ...]


class Postprocessing(_Part):
    """How the network's output becomes a class."""

    output: _Text = "logits, float32 of shape (batch, classes)"
    steps: tuple[_Text, ...] = (
        "softmax over the classes gives a probability for each",
        "the class of the greatest logit is the answer; preprocessing.classes has its name",
    )


class DataEntry(_Part):
    """What the network was trained and tested on.

    ``published``: its name among the data sets that bitfront knows; else ``settings`` are those with which a
    user's own files were read.
    """

    name: _Text
    published: _Text | None
    settings: dict[str, int | float | str | None] | None
    sha256: _Digest
    images: dict[str, int]


class SamplesEntry(_Part):
    """``file`` holds ``images`` images with the logits of every form; see docs/export.md."""

    file: Literal["samples.npz"]
    images: Annotated[int, Field(ge=1)]
    are_noise: bool


class ExperimentEntry(_Part):
    """Whose search found the network. ``device``: for which of several devices its policy is, else empty."""

    id: _Text
    name: _Text
    seed: int
    created_at: _Text
    candidate: int
    device: _Text


class Manifest(_Part):
    """Everything that is known of the network in a bundle.

    ``main`` is the format of the form that ``measured`` is of; ``predicted`` and ``measured`` have metrics by
    name, null where nothing was measured. ``network`` is the file of the network that all forms were made of, null
    where it could not be stored. Of one device ``device`` says where costs come from, of several ``devices``.
    """

    format: Literal["bitfront bundle"] = "bitfront bundle"
    version: Literal[1] = 1
    created_at: _Text
    experiment: ExperimentEntry
    genome: tuple[Annotated[int, Field(ge=0, le=255)], ...]
    main: _Text
    forms: Annotated[tuple[FormEntry, ...], Field(min_length=1, max_length=64)]
    left_out: tuple[LeftOutEntry, ...]
    network: Literal["network.safetensors"] | None
    layers: tuple[dict[str, Any], ...]
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    predicted: dict[str, int | float]
    measured: dict[str, int | float | None]
    device: dict[str, Any] | None = None
    devices: dict[str, dict[str, Any]] | None = None
    finetuning: dict[str, Any] | None
    data: DataEntry
    samples: SamplesEntry
    hashes: dict[str, _Text]
    versions: dict[str, _Text]
    machine: dict[str, Any]
    licences: dict[str, _Text]

    def form(self, name: str) -> FormEntry:
        """The form of a format that is there."""
        return next(one for one in self.forms if one.format == name)


def manifest_bytes(manifest: Manifest) -> bytes:
    """As JSON for people: indented, without what is not there at all."""
    left_out = {name for name in ("device", "devices") if getattr(manifest, name) is None}
    return (manifest.model_dump_json(indent=1, exclude=left_out) + "\n").encode()


def read_manifest(data: bytes, source: str = "the given file") -> Manifest:
    """What `manifest_bytes` wrote.

    Raises:
        CorruptFileError: it is no such manifest, or of another version; ``source`` names it.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise CorruptFileError(
            f"{source} is no manifest of version {VERSION} ({where}: {first['msg']}): "
            "export the bundle again, or use the bitfront that wrote it"
        ) from error
