"""Recipes: what is accepted, what is refused and in which words, and those that come with bitfront."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from bitfront.supernet.data import DATASETS
from bitfront.supernet.data.augment import Augmentation
from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import (
    BitfrontError,
    InvalidSpaceError,
    MissingFileError,
    RecipeError,
    TrainingSettingsError,
    UnknownNameError,
)
from bitfront.supernet.spaces import SPACES
from bitfront.supernet.spaces.documents import document_of, space_from
from bitfront.supernet.spaces.settings import SpaceSettings, load_space
from bitfront.supernet.training import TrainingSettings
from bitfront.supernet.training.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "experiments" / "recipes").glob("*.yaml"))


def read(folder: Path, text: str) -> Recipe:
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(text)
    return read_recipe(path)


# -- accepted ----------------------------------------------------------------------------------------------


def test_names_are_enough(tmp_path: Path) -> None:
    recipe = read(tmp_path, "space: digits\ndata: digits\n")
    assert recipe == Recipe(SpaceSettings("digits"), "digits", 0, TrainingSettings())
    dataset = recipe.dataset()
    assert dataset.name == "digits"
    assert recipe.space_for(dataset).hash() == load_space("digits").hash()


def test_everything(tmp_path: Path) -> None:
    text = """
        space: {name: mobilenet_v3_cifar, options: {width_multiplier: 0.5}}
        data:
          kind: folder
          path: images
          size: 32
          validation: 500
          augmentation: {crop: 4, flip: true, mixup: 0.2}
        seed: 7
        training: {schedule: progressive, warmup_epochs: 3, learning_rate: 1, optimizer: sgd, augment: false}
    """
    recipe = read(tmp_path, text)
    assert recipe.space == SpaceSettings("mobilenet_v3_cifar", {"width_multiplier": 0.5})
    augmentation = Augmentation(crop=4, flip=True, mixup=0.2)
    assert recipe.data == DataSettings(
        "folder", str(tmp_path / "images"), size=32, validation=500, augmentation=augmentation
    )
    assert recipe.seed == 7
    assert recipe.training == TrainingSettings(
        schedule="progressive", warmup_epochs=3, learning_rate=1, optimizer="sgd", augment=False
    )


def test_a_path_is_seen_from_the_recipe_and_the_space_fits_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 10, 10, 3), dtype=np.uint8)
    np.savez(folder / "own.npz", images=images, labels=np.arange(40) % 4)
    monkeypatch.chdir(tmp_path)
    recipe = read(folder, "space: digits\ndata: {kind: npz, path: own.npz, validation: 0.2, test: 0.2}\n")
    dataset = recipe.dataset()
    assert (dataset.classes, dataset.channels) == (4, 3)
    space = recipe.space_for(dataset)
    assert (space.config["classes"], space.config["in_channels"]) == (4, 3)


def test_a_published_data_set_is_varied_as_asked(tmp_path: Path) -> None:
    dataset = read(tmp_path, "space: digits\ndata: {name: digits, augmentation: {crop: 1}}\n").dataset()
    assert (dataset.name, dataset.augmentation) == ("digits", Augmentation(crop=1))
    usual = read(tmp_path, "space: digits\ndata: {name: digits}\n").dataset()
    assert usual.augmentation == read(tmp_path, "space: digits\ndata: digits\n").dataset().augmentation


def test_a_file_of_a_space_is_seen_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = document_of(load_space("digits"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "own", **document}))
    recipe = read(tmp_path, "space: mine.yaml\ndata: digits\n")
    space = recipe.space_for(recipe.dataset())
    assert (space.name, space.hash()) == ("own", space_from(document, "own").hash())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("~/mine.yaml", "{name: ~/mine.yaml}"):
        assert read(tmp_path, f"space: {name}\ndata: digits\n").space == recipe.space
    own = read(tmp_path / "deep", "space: digits\ndata: {kind: npz, path: ~/own.npz}\n").data
    assert own == DataSettings("npz", str(tmp_path / "own.npz"))
    with pytest.raises(MissingFileError, match=r"none\.yaml is missing"):
        read(tmp_path, "space: none.yaml\ndata: digits\n")


def test_given_options_are_not_overruled_by_the_data(tmp_path: Path) -> None:
    recipe = read(tmp_path, "space: {name: digits, options: {classes: 12}}\ndata: digits\n")
    assert recipe.space_for(recipe.dataset()).config["classes"] == 12


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_fits_a_data_set(tmp_path: Path, name: str) -> None:
    recipe = read(tmp_path, f"space: {name}\ndata: digits\n")
    config = recipe.space_for(recipe.dataset()).config
    assert (config["classes"], config["in_channels"]) == (10, 1)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_that_come_with_bitfront(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.space.name in SPACES.names()
    assert recipe.data in DATASETS.names()
    load_space(recipe.space)
    assert recipe.training.epochs > 0
    assert f"bitfront.supernet.training {path.relative_to(ROOT)}" in path.read_text()


def test_there_are_recipes() -> None:
    assert {"fashion", "cifar10-mobilenet_v3"} <= {path.stem for path in RECIPES}


# -- refused -----------------------------------------------------------------------------------------------


def recipe_with(**changes: object) -> str:
    return yaml.safe_dump({"space": "digits", "data": "digits"} | changes)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("space: [", RecipeError, r"recipe.yaml is no YAML"),
        ("", RecipeError, "must be a mapping with at least 'space' and 'data'"),
        ("- 1", RecipeError, "must be a mapping with at least"),
        ("space: digits", RecipeError, "at least 'space' and 'data'"),
        (recipe_with(sead=1), UnknownNameError, "unknown field of a recipe 'sead': did you mean 'seed'"),
        (recipe_with(seed=-1), RecipeError, "seed = -1 must be a whole number from 0"),
        (recipe_with(seed=1.5), RecipeError, "seed = 1.5 must be a whole number"),
        (recipe_with(seed=True), RecipeError, "seed = True must be a whole number"),
        (recipe_with(seed="0"), RecipeError, "seed = '0' must be a whole number"),
        (recipe_with(space=5), RecipeError, "space = 5 must be a mapping of settings"),
        (recipe_with(space={"options": {}}), RecipeError, "space.name is missing: give text"),
        (recipe_with(space={"name": "digits", "options": 5}), RecipeError, "space.options = 5 must be a mapping"),
        (recipe_with(space={"nam": "digits"}), UnknownNameError, "setting in space 'nam': did you mean 'name'"),
        (recipe_with(space={"name": None}), RecipeError, "space.name = None must be text"),
        (recipe_with(data=5), RecipeError, "data = 5 must be a mapping of settings"),
        (recipe_with(data={"path": "x"}), RecipeError, "data.kind is missing: give text"),
        (recipe_with(data={"kind": "npz"}), RecipeError, "data.path is missing"),
        (recipe_with(data={"kind": "npz", "path": 3}), RecipeError, "data.path = 3 must be text"),
        (
            recipe_with(data={"kind": "npz", "path": "x", "size": "big"}),
            RecipeError,
            "data.size = 'big' must be a whole number or null",
        ),
        (recipe_with(data={"kind": "npz", "path": "x", "size": 0}), DataError, "data.size = 0 is no side"),
        (
            recipe_with(data={"kind": "npz", "path": "x", "augmentation": {"crop": "4"}}),
            RecipeError,
            "data.augmentation.crop = '4' must be a whole number",
        ),
        (
            recipe_with(data={"kind": "npz", "path": "x", "augmentation": {"crob": 4}}),
            UnknownNameError,
            "'crob': did you mean 'crop'",
        ),
        (
            recipe_with(data={"kind": "npz", "path": "x", "augmentation": 3}),
            RecipeError,
            "data.augmentation = 3 must be a mapping",
        ),
        (
            recipe_with(data={"kind": "npz", "path": "x", "augmentation": {"mixup": -1}}),
            BitfrontError,
            "augmentation.mixup = -1 is out of range",
        ),
        (recipe_with(training=[1]), RecipeError, r"training = \[1\] must be a mapping of settings"),
        (
            recipe_with(training={"warmup": 3}),
            UnknownNameError,
            "setting in training 'warmup': did you mean 'warmup_epochs'",
        ),
        (
            recipe_with(training={"batch_size": 2.5}),
            RecipeError,
            "training.batch_size = 2.5 must be a whole number",
        ),
        (recipe_with(training={"batch_size": True}), RecipeError, "batch_size = True must be a whole number"),
        (
            "space: digits\ndata: digits\ntraining: {learning_rate: 1e-3}",  # text to YAML 1.1
            RecipeError,
            "learning_rate = '1e-3' must be a number, such as 0.001 or 1.0e-3",
        ),
        (recipe_with(training={"augment": 1}), RecipeError, "augment = 1 must be true or false"),
        (recipe_with(training={"schedule": 1}), RecipeError, "schedule = 1 must be text"),
        (recipe_with(training={"schedule": None}), RecipeError, "schedule = None must be text"),
        (
            recipe_with(training={"schedule": "sandwitch"}),
            UnknownNameError,
            "unknown schedule 'sandwitch': did you mean 'sandwich'",
        ),
        (recipe_with(training={"batch_size": 0}), TrainingSettingsError, "batch_size = 0 is out of range"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(tmp_path, text)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.yaml is missing"):
        read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("space", "kind", "words"),
    [
        ("digit", UnknownNameError, "did you mean 'digits'"),
        ({"name": "digits", "options": {"classez": 3}}, UnknownNameError, "did you mean 'classes'"),
        ({"name": "digits", "options": {"classes": "ten"}}, InvalidSpaceError, "must be a whole number"),
    ],
)
def test_a_space_that_does_not_exist(tmp_path: Path, space: object, kind: type[Exception], words: str) -> None:
    recipe = read(tmp_path, recipe_with(space=space))
    with pytest.raises(kind, match=words):
        recipe.space_for(recipe.dataset())


def test_data_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        read(tmp_path, recipe_with(data="digitz")).dataset()
    with pytest.raises(DataError, match=r"own\.npz"):
        read(tmp_path, recipe_with(data={"kind": "npz", "path": "own.npz"})).dataset()
