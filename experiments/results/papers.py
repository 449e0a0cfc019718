"""Papers that claims are from, in Markdown."""

from __future__ import annotations

APQ = "[APQ](https://arxiv.org/abs/2006.08509) (Wang et al., CVPR 2020)"
SIMQ_NAS = "[SimQ-NAS](https://arxiv.org/abs/2312.13301) (Sridhar et al., 2023)"
