"""A recipe: one YAML file that says which supernet is trained on what, and how; enough for a bare machine.

space: mobilenet_v3_cifar        # or {name: ..., options: {...}}, or a space's own .yaml file beside this one
data: cifar10                    # or {name: cifar10, augmentation: {...}}, or {kind: folder, path: ..., ...}
seed: 0
training: {schedule: sandwich, warmup_epochs: 20, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.augment import Augmentation
from bitfront.supernet.data.dataset import Dataset
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import RecipeError, UnknownNameError
from bitfront.supernet.files import read_bytes
from bitfront.supernet.progress import Progress, silent
from bitfront.supernet.space import SearchSpace
from bitfront.supernet.spaces.settings import SpaceSettings, load_space
from bitfront.supernet.training.sampling import check_has_teacher
from bitfront.supernet.training.settings import TrainingSettings

T = TypeVar("T", SpaceSettings, DataSettings, Augmentation, TrainingSettings)
_TYPES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number, such as 0.001 or 1.0e-3",
    str: "text",
    type(None): "null",
    Mapping: "a mapping",
    Augmentation: "a mapping",
}
_FIELDS = ("space", "data", "seed", "training")
_SPACE_FILES = (".yaml", ".yml")
_FIT = {"classes": "classes", "in_channels": "channels"}


@dataclass(frozen=True)
class Recipe:
    """What is trained: the space, the data, how, and the seed of weights, order, augmentation and networks.

    ``augmentation`` is in the place of what a published data set recommends.
    """

    space: SpaceSettings
    data: str | DataSettings
    seed: int
    training: TrainingSettings
    augmentation: Augmentation | None = None

    def dataset(self, progress: Progress = silent) -> Dataset:
        """The data set.

        Raises:
            DataError: it can not be read.
        """
        dataset = load_dataset(self.data, progress)
        return dataset if self.augmentation is None else replace(dataset, augmentation=self.augmentation)

    def refuse_untrainable(self) -> None:
        """Refuse a space that can not be trained before its data is loaded, which may take long.

        Raises:
            UnsupportedError: it has no real-valued networks.
            UnknownNameError, InvalidSpaceError: the space or an option does not exist.
        """
        check_has_teacher(load_space(self.space))

    def space_for(self, dataset: Dataset) -> SearchSpace:
        """The space with the data set's classes and channels.

        Raises:
            UnknownNameError, InvalidSpaceError: the space or an option does not exist.
        """
        own = load_space(self.space).config
        options = {name: getattr(dataset, of) for name, of in _FIT.items() if name in own}
        return load_space(SpaceSettings(self.space.name, {**options, **self.space.options}, self.space.content))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        MissingFileError: there is no such file.
        RecipeError: it is no YAML mapping, or a field has a wrong type.
        UnknownNameError: a field is unknown.
        TrainingSettingsError, DataError: a value is out of its range.
    """
    document = _document(path)
    if not isinstance(document, Mapping) or not {"space", "data"} <= document.keys():
        raise RecipeError(f"{path} must be a mapping with at least 'space' and 'data'")
    _check_names("field of a recipe", document, _FIELDS)
    seed = document.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise RecipeError(f"{path}: seed = {seed!r} must be a whole number from 0")
    data, augmentation = _data(document["data"], path.parent)
    return Recipe(
        space=_space(document["space"], path.parent),
        data=data,
        augmentation=augmentation,
        seed=seed,
        training=_made(TrainingSettings, "training", document.get("training") or {}),
    )


def _space(value: Any, folder: Path) -> SpaceSettings:
    settings = _made(SpaceSettings, "space", {"name": value} if isinstance(value, str) else value)
    if settings.content is not None or not settings.name.endswith(_SPACE_FILES):
        return settings
    path = folder / Path(settings.name).expanduser()
    document = _document(path)
    if not isinstance(document, Mapping):
        raise RecipeError(f"{path} must be a mapping that describes a space, as docs/spaces.md shows")
    content = {name: value for name, value in document.items() if name != "name"}
    return SpaceSettings(document.get("name") or path.stem, settings.options, content)


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(read_bytes(path))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is no YAML: {error}") from error


def _data(value: Any, folder: Path) -> tuple[str | DataSettings, Augmentation | None]:
    if isinstance(value, Mapping) and "name" in value and "kind" not in value:
        _check_names("setting in data", value, ("name", "augmentation"))
        published, varied = value["name"], value.get("augmentation")
        if not isinstance(published, str):
            raise RecipeError(f"data.name = {published!r} must be text")
        return published, None if varied is None else _made(Augmentation, "data.augmentation", varied)
    return (value if isinstance(value, str) else _data_settings(value, folder)), None


def _data_settings(values: Any, folder: Path) -> DataSettings:
    if isinstance(values, Mapping) and isinstance(values.get("path"), str):
        values = {**values, "path": str(folder / Path(values["path"]).expanduser())}
    if isinstance(values, Mapping) and "augmentation" in values:
        varied = _made(Augmentation, "data.augmentation", values["augmentation"])
        values = {**values, "augmentation": varied}
    return _made(DataSettings, "data", values)


def _made(kind: type[T], where: str, values: Any) -> T:
    """A settings object of a mapping, its names and plain types checked."""
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where} = {values!r} must be a mapping of settings")
    known = {field.name: field for field in fields(kind)}
    hints = get_type_hints(kind)
    _check_names(f"setting in {where}", values, list(known))
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise RecipeError(f"{where}.{name} = {value!r} must be {_described(hints[name])}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise RecipeError(f"{where}.{name} is missing: give {_described(hints[name])}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is float:
        return type(value) in (int, float)
    if hint is int:
        return type(value) is int
    origin = get_origin(hint)
    return isinstance(value, str if origin is Literal else origin or hint)


def _described(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(map(_described, get_args(hint)))
    return _TYPES[Mapping if get_origin(hint) is Mapping else str if get_origin(hint) is Literal else hint]


def _check_names(kind: str, values: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
    for name in values:
        if name not in known:
            raise UnknownNameError(kind, str(name), list(known))
