"""The section of a spec that says on which data networks are trained and measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bitfront.experiments.spec_checks import absolute, known_in
from bitfront.experiments.spec_errors import broken, broken_by
from bitfront.experiments.spec_sections import Section
from bitfront.supernet.errors import BitfrontError

if TYPE_CHECKING:
    from bitfront.supernet.data.augment import Augmentation
    from bitfront.supernet.data.dataset import Dataset
    from bitfront.supernet.data.settings import DataSettings
    from bitfront.supernet.progress import Progress

_OWN = ("kind", "path", "size", "channels", "validation", "test", "max_broken")


class AugmentationSection(Section):
    """How training images are varied at random; what is left out is not varied."""

    rotate: float = Field(default=0.0, ge=0, le=180, description="Largest rotation in degrees.")
    scale: float = Field(default=0.0, ge=0, le=0.9, description="Largest change of scale, as a fraction.")
    shift: float = Field(default=0.0, ge=0, le=1, description="Largest shift, as a share of the side.")
    crop: int = Field(
        default=0, ge=0, description="Pixels around the image, like its border, out of which it is cut."
    )
    flip: bool = Field(default=False, description="Whether half of the images are mirrored, left to right.")
    cutout: int = Field(default=0, ge=0, description="Side of a square that is blanked, in pixels.")
    mixup: float = Field(default=0.0, ge=0, description="Alpha by which two images are blended; 0: not at all.")

    def settings(self) -> Augmentation:
        """As the supernet's training takes it."""
        from bitfront.supernet.data.augment import Augmentation

        return Augmentation(**self.model_dump())


class DataSection(Section):
    """The data set on which networks are trained and measured. `data: NAME` is enough for a published one; your
    own files have kind and path, and docs/data.md shows the layouts that are read.
    """

    name: Annotated[str, known_in("bitfront.supernet.data:DATASETS")] = Field(
        default="",
        description="A published data set: `digits` comes with bitfront, others must be fetched.",
        examples=["digits"],
    )
    kind: Annotated[str, known_in("bitfront.supernet.data.readers:READERS")] | None = Field(
        default=None, description="The format of your own files: folder, tar, npz, idx or parquet."
    )
    path: Annotated[str, Field(min_length=1), AfterValidator(absolute)] | None = Field(
        default=None, description="Your own file or folder, as seen from this file."
    )
    size: int | None = Field(
        default=None, ge=1, description="Side in pixels to which images are scaled and cut; null: as they are."
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1: grey, 3: colour; null: as they are.")
    validation: float = Field(
        default=0.1, ge=0, description="Cut from training where there is no such split: a share, or a number."
    )
    test: float = Field(default=0.1, ge=0, description="Likewise.")
    max_broken: float = Field(
        default=0.01, ge=0, description="Broken images that are left out without failing: a share, or a number."
    )
    augmentation: AugmentationSection | None = Field(
        default=None,
        description="How training images are varied; null: as the published data set recommends, else not at all.",
        examples=[{"crop": 4, "flip": True, "cutout": 8}],
    )

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if not self.name and (self.kind is None or self.path is None):
            raise broken("names no data", "give a name, or kind and path of your own files")
        fields = type(self).model_fields
        if self.name and (own := [n for n in _OWN if getattr(self, n) != fields[n].default]):
            raise broken(f"{own[0]} is for your own files, not for {self.name}", f"leave out {', '.join(own)}")
        try:
            self.source()
        except BitfrontError as error:
            raise broken_by(error) from error
        return self

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> Any:
        """As people write it: only what is given, and a mere name where that is all."""
        given = {field: value for field, value in whole(self).items() if value not in (None, "")}
        return self.name if self.name and self.augmentation is None else given

    def source(self) -> str | DataSettings:
        """What `load_dataset` takes; the augmentation is left to `load`."""
        if self.name:
            return self.name
        from bitfront.supernet.data.settings import DataSettings

        given = {field: getattr(self, field) for field in _OWN}
        return DataSettings(**given, name=Path(given["path"]).name)

    def load(self, progress: Progress) -> Dataset:
        """The data set with the augmentation that is asked for.

        Raises:
            DataError, StorageError: as `load_dataset`.
        """
        from bitfront.supernet.data import load_dataset

        dataset = load_dataset(self.source(), progress)
        if self.augmentation is None:
            return dataset
        return dataclasses.replace(dataset, augmentation=self.augmentation.settings())

    def trained_with(self) -> Any:
        """What of this section decides a supernet's weights beside the data's content, JSON-able."""
        return [self.name, self.augmentation.model_dump() if self.augmentation else None]
