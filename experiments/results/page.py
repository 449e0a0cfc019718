"""The page of results, written from their files and the list of claims alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bitfront.experiments.pace import duration
from bitfront.experiments.results.claim import Claim
from bitfront.experiments.results.record import Record
from bitfront.experiments.results.section import published_verdict, section, verdict
from bitfront.supernet.errors import MissingFileError

_HEAD = """\
# Results

What bitfront's headline claims come to when they are measured. `make results` runs all benchmarks and writes this
page from the JSON that they leave in `{folder}/`. Nothing here is typed by hand: to change it, run them again.
"""
_READING = """\
## How to read this

- **Goals** are part of a benchmark's code. Those that are missed are told first, as **MISSED**.
- **Published** figures are those of papers, of other networks, data and devices: what they report is held against
  what was found here, apart from the goals.
- **How a figure is known** stands beside it: *measured* by running networks, *predicted* by a cost table or a
  predictor, or *counted*. Accuracies of networks are those on test images, on which no choice depended.
- **Modelled** devices are accelerators that need not be at hand: latency and energy of networks come from a model
  of them. *This CPU* is measured, and tells no energy of a network: where energy is told at equal accuracy, it is
  that of modelled devices.
- **At equal accuracy** means equal on the *validation* split: the equal of a network is the cheapest of the other
  front that is at least as accurate there. Accuracy that is told beside it is the test split's, and may differ.
  A mean ratio is the geometric mean of two directions, one side's networks beside their equals and the other's
  beside theirs; a largest ratio is of the rival's networks alone, so that it can be below the mean.
- **±** is half of Student's 95 % interval of a mean over seeds, as far as they have the figure; ± 0 means that all
  seeds gave the same. Seeds are those of the search; supernet, predictor and test images are the same for all, and
  pictures of fronts show the first seed. What chance has in a finite test split is not in it: where two networks
  disagree on a share d of n images, their accuracies differ by up to some 2√(d/n) by chance alone,
  which is 0.4 points where they disagree on 4 % of 10,000 images.
- **Within ±** stands beside a verdict where what is asked lies within the ± of what was found, so that other seeds
  might have judged otherwise. Such goals are counted as all others are.
- **Took** is the time of the run that ended, without any that were interrupted before. Benchmarks that time this
  machine run first, one by one; the others, which time nothing but what tables lack, may run beside each other.
  Most find the samples and tables that those before them measured. What is added up may be of several runs, each
  with its own commit{took}.
"""
_QUICK = """\
> **These are quick runs**: small versions, for a look. They say nothing about the claims.
"""


def records_in(folder: Path, claims: Sequence[Claim]) -> dict[str, Record]:
    """By benchmark what a folder holds of the claims.

    Raises:
        MissingFileError: there is no such folder.
        CorruptFileError: a file in it is no result, was changed, or lacks a picture.
    """
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {folder}: 'bitfront results run -o {folder}' makes it")
    found = {claim.bench: Record.read(folder, claim.bench) for claim in claims}
    return {bench: record for bench, record in found.items() if record is not None}


def page(claims: Sequence[Claim], records: Mapping[str, Record], pictures: str) -> str:
    """Markdown. ``pictures``: the folder of results as seen from the page."""
    return "\n".join(_lines(claims, records, pictures)).rstrip("\n") + "\n"


def _took(records: Mapping[str, Record]) -> str:
    if not records:
        return ""
    seconds, cpu_seconds = (
        sum(getattr(record, name) for record in records.values()) for name in ("seconds", "cpu_seconds")
    )
    return f"; those of all {len(records)} add up to {duration(seconds)}, {duration(cpu_seconds)} of processor"


def _lines(claims: Sequence[Claim], records: Mapping[str, Record], pictures: str) -> Iterator[str]:
    yield _HEAD.format(folder=pictures)
    if any(record.quick for record in records.values()):
        yield _QUICK
    yield from ("| claim | verdict | published figures |", "|---|---|---|")
    for claim in claims:
        record = records.get(claim.bench)
        quick = " (quick run)" if record is not None and record.quick else ""
        told = f"{verdict(record)}{quick} | {published_verdict(claim, record)}"
        yield f"| [{claim.heading}](#{claim.name}) | {told} |"
    yield ""
    yield _READING.format(took=_took(records))
    for claim in claims:
        yield from section(claim, records.get(claim.bench), pictures)
