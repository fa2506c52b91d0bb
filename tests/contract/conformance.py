"""Requests, answers and events held against the schema of the installed `stripe` package.

The checker is a small tool that lives beside the repository (`../shared/tools/stripe_check`, or STRIPE_CHECK); where
it is missing nothing is checked and tests/contract says so.
"""

import importlib.util
import json
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import stripe

from sandbox.encoding import decode

ROOT = Path(__file__).resolve().parents[2]
ABSENT = "tools/stripe_check is not beside the repository (STRIPE_CHECK names another place)"


def folder() -> Path:
    return Path(os.environ.get("STRIPE_CHECK", ROOT.parent / "shared" / "tools" / "stripe_check"))


class Checker:
    def __init__(self, tools: dict[str, Any], spec: dict[str, Any]) -> None:
        self.tools, self.spec = tools, spec
        self.router = tools["core"].Router(spec)
        self.requests = tools["core"].Validator(spec, True)
        self.answers = tools["core"].Validator(spec, False)

    def request(self, method: str, path: str, query: str) -> list[str]:
        """Unknown or missing parameters, wrong types, unknown paths, and the rules that a schema cannot say."""
        core, rules = self.tools["core"], self.tools["rules"]
        hit = self.router.match(method.lower(), path)
        if hit is None:
            return [f"{method} {path}: no such URL"]
        template, operation, ids = hit
        params, errors = self.requests.check(core.request_schema(operation, method.lower()), decode(query))
        if not errors:
            more = rules.apply(method.lower(), template, params, ids) + rules.id_types(params)
            errors = [error for error in more if not error["code"].startswith("warn_")]
            answer = core.response_schema(operation)
            errors += self.requests.check_expand(answer, params.get("expand") or [], method == "GET")
        return [f"{method} {path}: {error['message']}" for error in errors]

    def answer(self, method: str, path: str, body: Any) -> list[str]:
        hit = self.router.match(method.lower(), path)
        if hit is None or (isinstance(body, dict) and body.get("deleted")):
            return []
        errors = self.answers.check(self.tools["core"].response_schema(hit[1]), body, "")[1]
        return [f"answer to {method} {path}: {error['message']}" for error in errors]

    def event(self, body: Any) -> list[str]:
        errors = self.tools["validate_event"].check_event(self.spec, body)
        return [f"event {body['type']}: {error['message']}" for error in errors]

    def object(self, body: Any) -> list[str]:
        return [error["message"] for error in self.tools["validate_event"].check_object(self.spec, body)]


@cache
def checker() -> Checker | None:
    """The checker, or None where its folder is missing. Its schema takes seconds to read and is kept in a file."""
    if not (folder() / "core.py").is_file():
        return None
    tools = _load("core", "rules", "sdk_spec", "validate_event")
    kept = Path(tempfile.gettempdir()) / f"stripe-schema-{os.getuid()}-{stripe.VERSION}.json"
    try:
        spec = json.loads(kept.read_text())
    except (OSError, ValueError):
        spec = tools["sdk_spec"].build()
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(spec))
        part.replace(kept)
    return Checker(tools, spec)


def _load(*names: str) -> dict[str, Any]:
    """The tool's modules: they name each other without a package, so they go into `sys.modules` as they are."""
    modules = {}
    for name in names:
        spec = importlib.util.spec_from_file_location(name, folder() / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        taken = sys.modules.get(name)
        sys.modules[name] = module
        path = list(sys.path)
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path[:] = path
            if taken is not None:
                sys.modules[name] = taken
        modules[name] = module
    return modules
