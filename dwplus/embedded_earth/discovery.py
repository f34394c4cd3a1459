"""The discovery document that the client builds its methods from: the one of its own tests, brought to version 1."""

from __future__ import annotations

import functools
import json
from typing import Any

from dwplus.embedded_earth.client import DISCOVERY, client_json

_ANY = {"type": "any"}
_TEXT = {"location": "query", "type": "string"}


@functools.cache
def document() -> dict[str, Any]:
    """The document; the client sets the base URL itself."""
    found: dict[str, Any] = json.loads(json.dumps(client_json(DISCOVERY)).replace("v1alpha", "v1"))
    found["id"] = "earthengine:v1"
    projects = found["resources"]["projects"]
    # The shipped document is older than the client: it calls this parameter 'parent', the client sends 'asset'.
    features = projects["resources"]["assets"]["methods"]["listFeatures"]
    features["path"] = "v1/{+asset}:listFeatures"
    features["parameterOrder"] = ["asset"]
    features["parameters"] = {
        "asset": {"location": "path", "required": True, "type": "string", "pattern": "^projects/[^/]+/assets/.*$"},
        "pageSize": {"location": "query", "type": "integer", "format": "int32"}, "pageToken": _TEXT, "region": _TEXT,
        "filter": _TEXT}
    # It also lacks what newer clients call.
    projects["methods"]["getConfig"] = {
        "id": "earthengine.projects.getConfig", "httpMethod": "GET", "path": "v1/{+name}",
        "flatPath": "v1/projects/{projectsId}/config", "parameterOrder": ["name"], "response": _ANY,
        "parameters": {"name": {"location": "path", "required": True, "type": "string",
                                "pattern": "^projects/[^/]+/config$"}}}
    projects["resources"].setdefault("tables", {"methods": {"create": {
        "id": "earthengine.projects.tables.create", "httpMethod": "POST", "path": "v1/{+parent}/tables",
        "flatPath": "v1/projects/{projectsId}/tables", "parameterOrder": ["parent"], "request": _ANY, "response": _ANY,
        "parameters": {"parent": {"location": "path", "required": True, "type": "string",
                                  "pattern": "^projects/[^/]+$"}}}}})
    return found
