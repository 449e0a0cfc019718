"""The OpenAPI document, in which errors are JSON for files and texts as well."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_ERROR = {"$ref": "#/components/schemas/ErrorAnswer"}


class DescribedApp(FastAPI):
    """An app whose document says of every error that it has the one form."""

    def openapi(self) -> dict[str, Any]:
        """The document; it is made once."""
        made = self.openapi_schema is None
        document = super().openapi()
        if made:  # FastAPI takes an endpoint's media type for its errors too
            for methods in document["paths"].values():
                for operation in methods.values():
                    _mend(operation["responses"])
        return document


def _mend(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if (
            status.isdigit()
            and int(status) >= 400
            and _ERROR in [one["schema"] for one in response["content"].values()]
        ):
            response["content"] = {"application/json": {"schema": _ERROR}}
