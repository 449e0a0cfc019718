"""export: a candidate as a bundle of files that run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bitfront.experiments.bundle.names import MOST_SAMPLES
from bitfront.experiments.commands.consoles import err, put_json
from bitfront.experiments.commands.group import tell
from bitfront.experiments.commands.launch import Id
from bitfront.experiments.commands.look import Json
from bitfront.experiments.commands.opened import find, opened_existing

if TYPE_CHECKING:
    from bitfront.experiments.bundle.manifest import FormEntry
    from bitfront.experiments.stages.exporting import Exported

EPILOG = "'bitfront export verify DIR' looks whether a bundle is what it says."


def export(
    experiment_id: Id,
    candidate: Annotated[int, typer.Option(metavar="N", help="Its number in 'bitfront front'.")],
    format_name: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx, integer, c, torch, or all that can hold it.")
    ] = "onnx",
    runtime: Annotated[
        Literal["onnxruntime", "openvino"] | None,
        typer.Option(help="Which one onnx is written for.", show_default="export.runtime of its spec"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="What the bundle becomes; without it, in the experiment's folder.",
        ),
    ] = None,
    finetune_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Train it on for N epochs before, in its own formats.",
            show_default="export.finetune_epochs of its spec",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only the network of this device.",
            show_default="all, where each has a policy of its own",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_SAMPLES,
            metavar="N",
            help="Test images that go along; 0: noise instead.",
            show_default="export.samples of its spec",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a candidate as a bundle: a model that runs elsewhere, tested by itself, and all that is known of it.

    The model's path is printed on stdout, or the bundle's where the model is several files; accuracy beside that
    of the fake-quantized network on stderr. Where each device has a bit-width policy of its own, there is a bundle
    for each, in a folder of the device's name.
    """
    from bitfront.experiments.rich_reporter import RichReporter
    from bitfront.experiments.store.home import home

    with opened_existing() as store:
        one = find(store, experiment_id)
        store.candidate(one.id, candidate)  # before torch is loaded
        with RichReporter(err()) as reporter:
            from bitfront.experiments.stages.exporting import export_candidate

            done = export_candidate(
                store, home(), one.id, candidate, format_name, folder, reporter, finetune_epochs, device,
                runtime=runtime, samples=samples,
            )  # fmt: skip
    if as_json:
        put_json([_values(bundle) for bundle in done])
    for bundle in done:
        if not as_json:
            typer.echo(bundle.record.path)
        _tell(bundle)


def _values(bundle: Exported) -> dict[str, Any]:
    record, manifest = bundle.record, bundle.manifest
    return {
        "candidate": record.candidate_id,
        "device": record.device,
        "format": record.format,
        "path": record.path,
        "sha256": record.sha256,
        "bundle": str(bundle.folder.absolute()),
        "top1_test_fake_quant": bundle.top1_fake_quant,
        "forms": [
            form.model_dump(include={"format", "main_file", "runtime", "tested"}) for form in manifest.forms
        ],
        "left_out": [one.model_dump() for one in manifest.left_out],
    }


def _tell(bundle: Exported) -> None:
    for form in bundle.manifest.forms:
        tell(f"{form.format}: {_tested(form, bundle.top1_fake_quant)}")
    why: dict[str, list[str]] = {}
    for one in bundle.manifest.left_out:
        why.setdefault(one.why, []).append(one.format)
    for reason, formats in why.items():
        tell(f"{' and '.join(formats)} {'is' if len(formats) == 1 else 'are'} left out: {reason}", "yellow")


def _tested(form: FormEntry, fake_quant: float) -> str:
    tested = form.tested
    if tested.top1 is None or tested.agreement is None:
        return f"not tested: {tested.why}"
    some = f" on {tested.images:,} of {tested.images_of_split:,} images ({tested.why})" if tested.why else ""
    return (
        f"test top1 of the file {tested.top1:.4f}{some}, of the fake-quantized network {fake_quant:.4f}; "
        f"they agree on {tested.agreement:.2%} of the test images"
    )
