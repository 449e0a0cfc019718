"""Every reader: the same pixels in any format give the same data set; then what each one refuses."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitfront.supernet.data import load_dataset
from bitfront.supernet.data.dataset import DataError
from bitfront.supernet.data.readers import READERS
from bitfront.supernet.data.readers.idx import read_idx
from bitfront.supernet.data.settings import DataSettings
from bitfront.supernet.errors import UnknownNameError

Write = Callable[..., DataSettings]
Draw = Callable[..., Any]
Encode = Callable[..., bytes]
SPLITS = ("train", "validation", "test")


def _pairs(images: Any, labels: Any) -> list[tuple[int, bytes]]:
    return sorted(
        (int(label), np.ascontiguousarray(image).tobytes()) for image, label in zip(images, labels, strict=True)
    )


class TestEveryReader:
    def test_every_kind_is_tested(self) -> None:
        from_here = {"folder", "tar", "npz", "idx", "parquet"}
        assert set(READERS.names()) == from_here

    def test_published_splits_stay(self, write: Write, form: str, grey: Any) -> None:
        dataset = load_dataset(write(form, grey))
        assert dataset.class_names == ("0", "1", "2")
        assert dataset.notes == ()
        for name in SPLITS:
            images, labels = grey[name]
            split = dataset.split(name)
            assert split.images.shape == (len(images), 1, 6, 6)
            assert _pairs(split.images, split.labels) == _pairs(images, labels)

    def test_the_same_pixels_are_the_same_data_set(self, write: Write, form: str, grey: Any) -> None:
        one, other = load_dataset(write("folder", grey, "a")), load_dataset(write(form, grey, "b"))
        assert other.hash == one.hash
        for name in SPLITS:
            np.testing.assert_array_equal(other.split(name).images, one.split(name).images)
            np.testing.assert_array_equal(other.split(name).labels, one.split(name).labels)
        assert (other.mean, other.std) == (one.mean, one.std)

    def test_colour(self, write: Write, form: str, draw: Draw) -> None:
        images, labels = draw(12, size=5, channels=3)
        if form.startswith("idx"):
            images = images[:]  # (n, h, w, 3), four dimensions
        dataset = load_dataset(write(form, {"train": (images, labels), "test": (images, labels)}, validation=3))
        assert dataset.channels == 3
        assert _pairs(dataset.test.images, dataset.test.labels) == _pairs(images.transpose(0, 3, 1, 2), labels)

    def test_splits_that_lack_are_cut_from_training(self, write: Write, form: str, draw: Draw) -> None:
        images, labels = draw(120)
        parts = {"train": (images, labels)} if form.startswith("idx") else {None: (images, labels)}
        dataset = load_dataset(write(form, parts, validation=0.2, test=30))
        assert [len(dataset.split(name)) for name in SPLITS] == [66, 24, 30]
        whole = [
            pair for name in SPLITS for pair in _pairs(dataset.split(name).images, dataset.split(name).labels)
        ]
        assert sorted(whole) == _pairs(images, labels)
        for name in SPLITS:
            counts = np.bincount(dataset.split(name).labels)
            assert counts.max() - counts.min() <= 1

    def test_the_normalisation_is_that_of_the_training_pixels(self, write: Write, form: str, draw: Draw) -> None:
        dataset = load_dataset(write(form, {"train": draw(40, channels=3), "test": draw(9, channels=3, seed=5)}))
        pixels = dataset.train.images / 255
        np.testing.assert_allclose(dataset.mean, pixels.mean((0, 2, 3)), rtol=1e-9)
        np.testing.assert_allclose(dataset.std, pixels.std((0, 2, 3)), rtol=1e-9)

    def test_size_and_channels_are_met(self, write: Write, form: str, draw: Draw) -> None:
        images, labels = draw(30, size=8, channels=3)
        parts = {"train": (np.ascontiguousarray(images[:, :, 1:7]), labels)}
        settings = write(form, parts, size=4, channels=1)
        assert load_dataset(settings).train.images.shape[1:] == (1, 4, 4)
        half = load_dataset(write("folder", {"train": (images, labels)}, "half", size=4))
        averaged = images.reshape(30, 4, 2, 4, 2, 3).mean((2, 4)).mean()
        assert np.concatenate([half.split(name).images for name in SPLITS]).mean() == pytest.approx(
            averaged, abs=2
        )

    def test_images_that_are_not_square_need_a_size(self, write: Write, form: str, draw: Draw) -> None:
        images, labels = draw(12)
        settings = write(form, {"train": (np.ascontiguousarray(images[:, :, :4]), labels)})
        with pytest.raises(DataError, match=r"has 4x6 pixels and is not square: give data\.size"):
            load_dataset(settings)

    def test_a_channel_without_contrast(self, write: Write, form: str, draw: Draw) -> None:
        images, labels = draw(30, channels=3)
        images[..., 1] = 7
        dataset = load_dataset(write(form, {"train": (images, labels)}))
        assert dataset.std[1] == 1.0
        assert float(dataset.tensor(dataset.train.images)[:, 1].abs().max()) < 1e-6

    def test_what_is_not_there(self, form: str, write: Write, grey: Any, tmp_path: Path) -> None:
        kind = write(form, grey).kind
        with pytest.raises(DataError, match="nowhere"):
            load_dataset(DataSettings(kind, str(tmp_path / "nowhere")))

    def test_what_is_something_else(self, form: str, write: Write, grey: Any, tmp_path: Path) -> None:
        kind = write(form, grey).kind
        (tmp_path / "other").write_bytes(b"PAR1 neither this nor that" * 40)
        with pytest.raises(DataError, match="other"):
            load_dataset(DataSettings(kind, str(tmp_path / "other")))

    def test_what_is_cut_off(self, write: Write, form: str, grey: Any) -> None:
        settings = write(form, grey, max_broken=0)
        path = Path(settings.path)
        for file in (
            [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file() and f.suffix != ".txt"]
        ):
            file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
        with pytest.raises(DataError, match=r"fetch it again|are broken|can not be read"):
            load_dataset(settings)


# -- classes and splits ------------------------------------------------------------------------------------


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        load_dataset(DataSettings("parqet", str(tmp_path)))


def test_a_class_without_training_images(write: Write, draw: Draw) -> None:
    images, labels = draw(12)
    with pytest.raises(DataError, match=r"label '2' in .* is no class of the training images: add some"):
        load_dataset(
            write("folder", {"train": (images[labels < 2], labels[labels < 2]), "test": (images, labels)})
        )
    with pytest.raises(DataError, match=r"label 2 in .* is no class .*: number them from 0 without gaps"):
        load_dataset(write("npz", {"train": (images[labels < 2], labels[labels < 2]), "test": (images, labels)}))


def test_classes_that_do_not_begin_at_zero(write: Write, draw: Draw) -> None:
    images, labels = draw(12)
    with pytest.raises(DataError, match=r"label 3 in .* is no class .*: number them from 0 without gaps"):
        load_dataset(write("npz", {None: (images, labels + 1)}))
    with pytest.raises(DataError, match="label -1 in"):
        load_dataset(write("npz", {None: (images, labels - 1)}))


def test_there_must_be_a_training_split(write: Write, draw: Draw) -> None:
    with pytest.raises(
        DataError, match=r"has a test split and no training split: name a folder or file of it train"
    ):
        load_dataset(write("folder", {"test": draw(12)}))


def test_a_split_that_leaves_nothing(write: Write, draw: Draw) -> None:
    with pytest.raises(DataError, match=r"12 test images can not be cut from 12 training images.*data\.test"):
        load_dataset(write("npz", {None: draw(12)}, test=12))
    with pytest.raises(DataError, match=r"0 validation images can not be cut .*data\.validation"):
        load_dataset(write("npz", {"train": draw(12), "test": draw(12)}, validation=0.01))


def test_another_seed_cuts_otherwise(write: Write, draw: Draw) -> None:
    one, again, other = (
        load_dataset(write("npz", {None: draw(60)}, f"{i}", seed=seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert one.hash == again.hash != other.hash
    assert _pairs(one.test.images, one.test.labels) != _pairs(other.test.images, other.test.labels)


def test_images_outside_of_the_split_folders_are_told(write: Write, grey: Any, encode: Encode) -> None:
    settings = write("folder", grey)
    (Path(settings.path) / "drafts").mkdir()
    (Path(settings.path) / "drafts" / "1.png").write_bytes(encode(np.zeros((6, 6), dtype=np.uint8)))
    dataset = load_dataset(settings)
    assert dataset.notes == (f"1 images in {settings.path} lie outside of its split folders and are left out",)
    assert dataset.hash == load_dataset(write("npz", grey, "same")).hash


# -- image folders and archives of them --------------------------------------------------------------------


def test_names_of_folders(tmp_path: Path, encode: Encode, draw: Draw) -> None:
    images, _ = draw(8)
    names = ["train/cat/a.png", "train/cat/deep/b.PNG", "Train/dog/c.png", "train/dog/d.png"]
    names += ["val/cat/e.png", "val/dog/f.png", "test/dog/g.png", "test/cat/h.png"]
    for name, image in zip(names, images, strict=True):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(encode(image))
    dataset = load_dataset(DataSettings("folder", str(tmp_path / "set")))
    assert dataset.class_names == ("cat", "dog")
    assert _pairs(dataset.train.images, dataset.train.labels) == _pairs(images[:4], [0, 0, 1, 1])
    assert _pairs(dataset.test.images, dataset.test.labels) == _pairs(images[6:], [1, 0])


def test_links_are_followed_but_not_in_circles(write: Write, grey: Any, tmp_path: Path) -> None:
    settings = write("folder", grey)
    (tmp_path / "linked").mkdir()
    for split in SPLITS:
        (tmp_path / "linked" / split).symlink_to(Path(settings.path) / split)
    (Path(settings.path) / "train" / "0" / "up").symlink_to(Path(settings.path) / "train")
    linked = load_dataset(DataSettings("folder", str(tmp_path / "linked")))
    assert linked.hash == load_dataset(write("npz", grey, "same")).hash


def test_an_archive_writes_nothing_wherever_its_names_point(
    tmp_path: Path, encode: Encode, draw: Draw, cache: Path
) -> None:
    images, labels = draw(24)
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        entries = [
            (f"train/{label}/{i}.png", encode(image))
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        evil = encode(np.full((6, 6), 9, dtype=np.uint8))
        entries += [
            ("../../train/0/out.png", evil),
            ("train/../../0/x.png", evil),
            (str(tmp_path / "abs" / "0" / "x.png"), evil),
        ]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("train/0/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache}
    dataset = load_dataset(DataSettings("tar", str(tmp_path / "evil.tar"), validation=4, test=4))
    assert {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache} == before
    whole = [pair for name in SPLITS for pair in _pairs(dataset.split(name).images, dataset.split(name).labels)]
    assert sorted(whole) == _pairs(images, labels)


# -- npz ---------------------------------------------------------------------------------------------------


def _npz(path: Path, **arrays: Any) -> DataSettings:
    np.savez(path / "data.npz", **arrays)
    return DataSettings("npz", str(path / "data.npz"))


def test_npz_names_its_classes(tmp_path: Path, draw: Draw) -> None:
    images, labels = draw(30)
    names = np.array(["ant", "bee", "cow"])
    assert load_dataset(_npz(tmp_path, X=images, y=labels, class_names=names)).class_names == ("ant", "bee", "cow")
    assert load_dataset(_npz(tmp_path, x=images, y=names[labels])).class_names == ("ant", "bee", "cow")


def test_npz_with_pickled_objects_is_refused(tmp_path: Path, draw: Draw) -> None:
    images, labels = draw(12)
    with pytest.raises(DataError, match=r"allow_pickle=False.*pickled objects are never read"):
        load_dataset(_npz(tmp_path, images=images, labels=labels.astype(object)))
    harm = f"cos\nsystem\n(S'touch {tmp_path}/harmed'\ntR.".encode()  # what runs when it is unpickled
    header = struct.pack("<6sBBH", b"\x93NUMPY", 1, 0, 118)
    header += "{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117).encode() + b"\n"
    for name, content in (("bare.npz", harm), ("array.npz", header + harm)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"pickled objects are never read"):
            load_dataset(DataSettings("npz", str(tmp_path / name)))
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("images.npy", header + harm)
    with pytest.raises(DataError, match=r"pickled objects are never read"):
        load_dataset(DataSettings("npz", str(tmp_path / "zip.npz")))
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((4, 5, 5))}, r"its images are float64: convert pixels to uint8"),
        ({"labels": np.zeros(4)}, r"its labels are float64: save whole numbers from 0, or names"),
        ({"labels": np.zeros(3, dtype=int)}, r"\(4, 5, 5\) and labels of shape \(3,\) do not fit"),
        ({"images": np.zeros((4, 25), dtype=np.uint8)}, r"\(4, 25\).*expected \(n, h, w\)"),
        ({"images": np.zeros((4, 5, 5, 2), dtype=np.uint8)}, r"4 of 4 images .* neither 1 nor 3 channels"),
        ({"x_train": np.zeros((4, 5, 5), dtype=np.uint8)}, r"x_train, not images and labels: name the arrays"),
    ],
)
def test_npz_of_wrong_arrays(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    arrays: dict[str, Any] = {"images": np.zeros((4, 5, 5), dtype=np.uint8), "labels": np.arange(4) % 2}
    with pytest.raises(DataError, match=words):
        load_dataset(_npz(tmp_path, **(arrays | change)))


def test_npz_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no arrays, not images and labels: name the arrays"):
        load_dataset(_npz(tmp_path, weights=np.zeros(3)))
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"one\.npy can not be read as an \.npz"):
        load_dataset(DataSettings("npz", str(tmp_path / "one.npy")))


# -- IDX ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 00 00 08"),
        (b"\x01\0\x08\x01" + struct.pack(">I", 1) + b"a", "begins with 01 00 08 01"),
        (b"\0\0\x08\0", "no IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01", "no IDX file"),
        (b"\0\0\x0d\x01" + struct.pack(">I", 1) + b"abcd", "IDX type 13: only 8"),
        (b"\0\0\x08\x01" + struct.pack(">I", 4) + b"abc", "has 3 bytes where its header says 4"),
        (b"\0\0\x08\x01" + struct.pack(">I", 2) + b"abc", "has more bytes where its header says 2"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 9) + b"abc", "has 3 bytes where"),
    ],
)
def test_bad_idx_files(tmp_path: Path, data: bytes, words: str, zipped: bool) -> None:
    path = tmp_path / "bad"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(DataError, match=words):
        read_idx(path)


def test_a_broken_gzip(tmp_path: Path) -> None:
    path = tmp_path / "bad.gz"
    whole = bytearray(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 4000) + bytes(range(200)) * 20))
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="fetch it again"):
        read_idx(path)
    whole[20] ^= 0x55
    path.write_bytes(whole)
    with pytest.raises(DataError, match="fetch it again"):
        read_idx(path)


def test_idx_folders(write: Write, grey: Any) -> None:
    settings = write("idx", grey)
    folder = Path(settings.path)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"the unzipped one is read")
    assert len(load_dataset(settings).train) == 30
    (folder / "train-labels-idx1-ubyte").rename(folder / "labels")
    with pytest.raises(DataError, match=r"is no folder of IDX files: expected train-images-idx3-ubyte and"):
        load_dataset(settings)
    (folder / "labels").rename(folder / "train-labels-idx1-ubyte")
    (folder / "letters-train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=r"are both train labels: keep one set in a folder"):
        load_dataset(settings)


# -- parquet -----------------------------------------------------------------------------------------------


def test_parquet_names_its_classes_as_hubs_do(tmp_path: Path, draw: Draw, encode: Encode) -> None:
    images, labels = draw(30)
    table = pa.table({"image": [{"bytes": encode(i), "path": "a.png"} for i in images], "label": labels})
    hub = {"info": {"features": {"label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(hub)}), tmp_path / "a.parquet")
    settings = DataSettings("parquet", str(tmp_path / "a.parquet"))
    assert load_dataset(settings).class_names == ("ant", "bee", "cow")


def test_parquet_with_rows_that_lack_something(tmp_path: Path, draw: Draw, encode: Encode) -> None:
    images, labels = draw(30)
    structs: list[Any] = [{"bytes": encode(image), "path": "a.png"} for image in images]
    structs[4], structs[7] = {"bytes": None, "path": "elsewhere.png"}, None
    numbers: list[Any] = labels.tolist()
    numbers[9] = None
    pq.write_table(pa.table({"image": structs, "label": numbers}), tmp_path / "train.parquet")
    settings = DataSettings("parquet", str(tmp_path / "train.parquet"), max_broken=3)
    empty = "(it is empty or can not be opened)"
    assert load_dataset(settings).notes == (
        f"3 broken images in {settings.path} are left out: train.parquet row 4 {empty}; "
        f"train.parquet row 7 {empty}; train.parquet row 9 (it has no label)",
    )


def test_parquet_with_labels_that_are_none(tmp_path: Path, draw: Draw, encode: Encode) -> None:
    images, labels = draw(12)
    pq.write_table(pa.table({"image": [encode(i) for i in images], "label": labels / 2}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"12 of 12 .*its label 0\.0 is neither a whole number nor a name"):
        load_dataset(DataSettings("parquet", str(tmp_path / "a.parquet")))


def test_parquet_without_the_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"], "kind": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"has columns image, kind, none of them is 'label': rename the one meant"):
        load_dataset(DataSettings("parquet", str(tmp_path / "a.parquet")))
