"""How the bodies that are no parameters are described in OpenAPI: specs, and files."""

from __future__ import annotations

from typing import Any

EXAMPLE = {"space": "digits", "data": "digits", "device": "bitfusion", "search": {"generations": 20}}
_YAML = "space: digits\ndata: digits\ndevice: bitfusion\nsearch:\n  generations: 20\n"
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A spec, as `bitfront init` writes one; GET /api/v1/specs/schema has its schema.",
        "content": {
            "application/json": {"schema": {"type": "object", "examples": [EXAMPLE]}, "example": EXAMPLE},
            "application/yaml": {"schema": {"type": "string"}, "example": _YAML},
        },
    }
}
FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file's bytes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
