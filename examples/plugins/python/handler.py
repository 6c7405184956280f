"""Greets: reads the request header `x-name` and sets `x-greeting`."""

import json

from componentize_py_types import Err
from wit_world.imports.types import Declaration, Phases, Problem, Verdict_Proceed


# Not of the generated class, which wants every method of the interface: this one has those that are called.
class Plugin:
    def __init__(self, greeting):
        self.greeting = greeting

    @classmethod
    def create(cls, config):
        greeting = json.loads(config).get("greeting")
        if not isinstance(greeting, str) or not greeting:
            raise Err([Problem("/greeting", "must be a text")])
        return cls(greeting)

    def declare(self):
        # Nothing but this phase is called.
        return Declaration(Phases.REQUEST, None, None)

    def on_request(self, request):
        name = request.header("x-name")
        name = name.decode(errors="replace") if name else "stranger"
        request.set_header("x-greeting", f"{self.greeting}, {name}".encode())
        return Verdict_Proceed()
