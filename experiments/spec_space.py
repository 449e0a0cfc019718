"""The section of a spec that says which networks can be built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from bitfront.experiments.space_files import is_space_file, read_space_file
from bitfront.experiments.spec_checks import Options, registry_at
from bitfront.experiments.spec_errors import broken, broken_by, nearest
from bitfront.experiments.spec_sections import Section
from bitfront.supernet.errors import BitfrontError, InvalidSpaceError

if TYPE_CHECKING:
    from bitfront.supernet.data.dataset import Dataset
    from bitfront.supernet.spaces.settings import SpaceSettings

SPACES = "bitfront.supernet.spaces:SPACES"


class SpaceSection(Section):
    """The search space: which networks can be built. `space: NAME` is enough where it needs no options."""

    name: str = Field(
        min_length=1,
        description="A space that `bitfront space ls` lists, or a YAML or Python file of your own, as seen from "
        "this file; docs/spaces.md shows how to write one.",
        examples=["digits"],
    )
    options: Options = Field(
        default_factory=dict,
        description="The space's own options. Classes and channels are the data set's where they are not given.",
        examples=[{"classes": 10}],
    )
    # Not shown to people: what was read out of their file, so that nothing depends on it any more.
    file: str | None = Field(default=None, repr=False, description="The file that the space was read from.")
    sha256: str | None = Field(default=None, repr=False, description="Of that file.")
    content: dict[str, Any] | None = Field(default=None, repr=False, description="The space as a document.")

    @model_validator(mode="before")
    @classmethod
    def _with_content(cls, value: Any, info: ValidationInfo) -> Any:
        """Replace a file by what it holds; only a spec that lies in a folder may name one."""
        if not isinstance(value, Mapping) or "content" in value or not is_space_file(value.get("name")):
            return value
        folder, options = (info.context or {}).get("folder"), value.get("options", {})
        if folder is None:
            raise broken("names a file, but this spec is none", "put the file's document into space.content")
        if not isinstance(options, dict):
            return value  # what is wrong with it is told by its field
        return {**value, **read_space_file(value["name"], Path(folder), options)}

    @model_validator(mode="after")
    def _is_known(self) -> SpaceSection:
        names = registry_at(SPACES).names()
        if self.content is None and self.name not in names:
            raise broken("there is no such space", f"{nearest(self.name, names)}; a file ends in .yaml or .py")
        if self.content is not None and self.name in names:
            raise broken(f"{self.name!r} is a space that comes with bitfront", "give yours another name")
        if self.options or self.content is not None:
            self._refuse_what_makes_no_space()
        return self

    def _refuse_what_makes_no_space(self) -> None:
        from bitfront.supernet.spaces.settings import load_space

        try:
            load_space(self.settings())
        except InvalidSpaceError as error:
            place, _, rest = "; ".join(error.args[1]).partition(": ")
            raise broken(place, rest) from error
        except BitfrontError as error:
            raise broken_by(error) from error

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> Any:
        """As people write it: only what is given, and a mere name where that is all."""
        given = {field: value for field, value in whole(self).items() if value not in (None, {})}
        return self.name if given.keys() == {"name"} else given

    def settings(self) -> SpaceSettings:
        """What `load_space` takes."""
        return space_settings(self.model_dump(mode="json"))

    def open_ends(self) -> tuple[str, ...]:
        """Options that the data set decides: the space takes them, and they are not given."""
        from bitfront.supernet.spaces.settings import ENDS, space_options

        given = {*self.options, *(self.content or ())}
        return tuple(name for name in space_options(self.settings()) if name in ENDS and name not in given)

    def fitted(self, dataset: Dataset) -> SpaceSection:
        """The same with what the data set decides; what is the space's default anyway is not written down."""
        from bitfront.supernet.spaces.settings import space_options

        facts = {"classes": dataset.classes, "in_channels": dataset.channels}
        usual = space_options(self.settings())
        added = {name: facts[name] for name in self.open_ends() if facts[name] != usual[name]}
        return self.model_copy(update={"options": {**self.options, **added}})


def space_settings(value: str | Mapping[str, Any]) -> SpaceSettings:
    """What `load_space` takes, out of a section as specs keep it."""
    from bitfront.supernet.spaces.settings import SpaceSettings

    if isinstance(value, str):
        return SpaceSettings(value)
    return SpaceSettings(value["name"], value.get("options") or {}, value.get("content"))
