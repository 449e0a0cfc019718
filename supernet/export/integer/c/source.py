"""The three files of a program: ``network.h``, ``network.c`` and ``main.c``.

Kernels are C files beside this one, of which a network gets those that it needs: files whose names end in ``ROW``
once for each type in which its convolutions multiply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bitfront.supernet.export.integer.c.build import HEADER, MAIN, NETWORK
from bitfront.supernet.export.integer.c.constants import Constants, literal
from bitfront.supernet.export.integer.c.layout import Layout, pairs_of, row_type, taps_of
from bitfront.supernet.export.integer.c.steps import Steps
from bitfront.supernet.export.integer.c.weights import is_depthwise
from bitfront.supernet.export.integer.program import (
    Add,
    Average,
    Conv,
    MaxPool,
    Mean,
    Product,
    Program,
    Requantize,
    Table,
)

_KERNELS = Path(__file__).parent / "kernels"
_ELEMENTWISE = {Table: "table", Add: "add"}
_CHANNELWISE = {
    Requantize: "requantize",
    Mean: "mean",
    Average: "average",
    MaxPool: "max_pool",
    Product: "product",
}
_HEAD = """/* A network in integers alone; see network.h. Made by bitfront.

   Nothing here is a floating-point number. Kernels for AVX2 and for VNNI of AVX-512 are taken where the processor
   has them, and compute the same to the bit; NETWORK_PORTABLE leaves both out, NETWORK_NO_VNNI the latter. */
#include "network.h"

#include <stddef.h>
#include <string.h>

#ifdef __GNUC__
#define INLINE __attribute__((always_inline)) static inline
#else
#define INLINE static inline
#endif
/* From one instruction to the next a place of the buffer may come to hold numbers of another type. Nothing is
   moved across this by compilers that take pointers to different types to point to different places. */
#ifdef __GNUC__
#define NEXT __asm__ __volatile__("" : : : "memory")
#else
#define NEXT (void)0
#endif
#if defined(__GNUC__) && defined(__x86_64__) && !defined(NETWORK_PORTABLE)
#define NETWORK_AVX2
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE AVX2 INLINE
#ifdef __AVX2__
#define HAS_AVX2 1
#else
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#endif
#endif
#if defined(NETWORK_AVX2) && !defined(NETWORK_NO_VNNI) && (defined(__clang__) || __GNUC__ >= 8)
#define NETWORK_VNNI
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define VNNI_INLINE VNNI INLINE
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define HAS_VNNI 1
#else
#define HAS_VNNI                                                              \\
    (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") \\
     && __builtin_cpu_supports("avx512vnni"))
#endif
#endif
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """Texts, and what they say of memory, in bytes."""

    header: str
    network: str
    main: str
    weights_bytes: int
    buffer_bytes: int

    @property
    def files(self) -> dict[str, bytes]:
        """Contents by file name."""
        named = {HEADER: self.header, NETWORK: self.network, MAIN: self.main}
        return {name: text.encode("ascii") for name, text in named.items()}


def sources(program: Program) -> Sources:
    """The same program gives the same texts."""
    layout, constants = Layout(program), Constants()
    steps = Steps(program, layout, constants)
    parts = [_HEAD, constants.text(), *_kernels(program), steps.descriptions, _run(program, steps)]
    header = _header(program, constants.bytes, layout.buffer_bytes)
    return Sources(header, "\n".join(parts), _kernel("main"), constants.bytes, layout.buffer_bytes)


def _kernel(name: str) -> str:
    return (_KERNELS / f"{name}.c").read_text()


def _kernels(program: Program) -> Iterator[str]:
    """Those that a program needs, each after what it needs itself."""
    kinds = {type(one) for one in program.instructions}
    convs = [one for one in program.instructions if isinstance(one, Conv)]
    yield _kernel("base")
    if kinds:
        yield _kernel("instructions")
    if kinds & {Conv, Add}:
        yield _kernel("sixteen")
    if kinds & {Conv, *_CHANNELWISE}:
        yield _kernel("rescale")
    if convs:
        yield from _convolutions(program, convs)
    if kinds & set(_CHANNELWISE):
        yield _kernel("channelwise")
    yield from (_kernel(name) for kind, name in {**_ELEMENTWISE, **_CHANNELWISE}.items() if kind in kinds)


def _convolutions(program: Program, convs: list[Conv]) -> Iterator[str]:
    used = {("depthwise" if is_depthwise(one) else "dense", row_type(program.tensor(one.input))) for one in convs}
    rows = sorted({row for _, row in used})
    yield from (_kernel("weights"), _kernel("convolution"))
    yield from (_kernel("convolution_ROW").replace("ROW", row) for row in rows)
    if "int32" in rows:
        yield "#define RUN_int32(kernel, conv, arguments) kernel##_int32 arguments"
        yield "#define TRY_int32(kernel, conv, arguments) (void)0\n"
    if "int16" in rows:
        yield from (_kernel("avx2"), _kernel("vnni"))
    if any(kind == "dense" for kind, _ in used):
        yield _kernel("dense")
    for kind, row in sorted(used):
        if row == "int16":
            yield from _fast(kind, convs)
        yield _kernel(f"{kind}_ROW").replace("ROW", row)


def _fast(kind: str, convs: list[Conv]) -> Iterator[str]:
    if kind == "depthwise":
        most = max(pairs_of(one) for one in convs if is_depthwise(one))
        taps = max(taps_of(one) for one in convs if is_depthwise(one))
        yield f"enum {{ MOST_PAIRS = {most}, MOST_TAPS = {taps} }};\n"
    yield from (_kernel(f"{kind}_avx2"), _kernel(f"{kind}_vnni"))


def _run(program: Program, steps: Steps) -> str:
    return (
        f"static const struct map image_map = {steps.map_of(program.input)};\n"
        f"static const struct map logits_map = {steps.map_of(program.output)};\n\n"
        "void network_run(const network_code *image, int32_t *logits, network_buffer *buffer)\n{\n"
        "    take_image(image, &image_map, buffer->bytes);\n    NEXT;\n"
        f"{steps.calls}"
        "    load(logits_map.type, buffer->bytes + logits_map.at, NETWORK_CLASSES, logits);\n}\n"
    )


def _header(program: Program, weights_bytes: int, buffer_bytes: int) -> str:
    entry, logits = program.tensor(program.input), program.tensor(program.output)
    values = {
        "INPUT_SCALE": repr(entry.scale),
        "OUTPUT_SCALE": repr(logits.scale),
        "CHANNELS": str(entry.channels),
        "SIDE": str(entry.size),
        "CLASSES": str(logits.channels),
        "LOW": f"({literal(entry.low)})",
        "HIGH": str(entry.high),
        "WEIGHTS_BYTES": str(weights_bytes),
        "BUFFER_BYTES": str(buffer_bytes),
        "CODE": f"{entry.dtype.name}_t",
    }
    text = (_KERNELS / "network.h").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
