"""The guests of tests/tables/interfaces.txt for wasi:http, in Python: what this component does is CASE in its environment, the
name of a case."""

from dataclasses import dataclass, field

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import environment, outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields, IncomingBody, IncomingRequest, Method, Method_Get, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme_Http,
)


@dataclass
class Message:
    """A request or a response, with all of its body."""

    fields: list = field(default_factory=list)
    body: bytes = b""
    trailers: list | None = None
    method: Method = field(default_factory=Method_Get)
    authority: str = ""
    target: str = ""
    status: int = 200

    def values(self, name: str) -> list:
        return [value for known, value in self.fields if known.lower() == name]

    def add(self, name: str, value: bytes) -> None:
        self.fields.append((name, value))

    def remove(self, name: str) -> None:
        self.fields = [(known, value) for known, value in self.fields if known.lower() != name]

    def set(self, name: str, value: bytes) -> None:
        self.remove(name)
        self.add(name, value)

    def change(self, body: bytes) -> None:
        self.remove("content-length")
        self.body = body

    def add_trailer(self, name: str, value: bytes) -> None:
        self.trailers = (self.trailers or []) + [(name, value)]


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        case = dict(environment.get_environment())["CASE"]
        asked = received(request)
        name, read = asked.values("x-name"), asked.body
        own = on_request(case, asked)
        if own is not None:
            answer(response_out, own)
            return
        response = pass_on(asked)
        on_response(case, response, name, read)
        answer(response_out, response)


def on_request(case: str, asked: Message) -> Message | None:
    """Changes a request, or answers it."""
    match case:
        case "add":
            asked.add("x-many", b"1")
            asked.add("x-many", b"2")
        case "replace":
            asked.set("x-many", b"one")
        case "remove":
            asked.remove("x-many")
        case "list":
            asked.set("x-listed", b",".join(asked.values("x-many")))
        case "deny":
            return Message(body=b"denied", status=403)
        case "answer":
            return Message([("x-by", b"guest"), ("x-many", b"1"), ("x-many", b"2")], b"teapot", status=418)
        case "rewrite":
            asked.target = "/other?b=2"
        case "facts":
            asked.set("x-method", type(asked.method).__name__.removeprefix("Method_").upper().encode())
            asked.set("x-target", asked.target.encode())
        case "replace-request-body":
            asked.change(b"replaced")
        case "append-request":
            asked.change(asked.body + b"+guest")
        case "request-trailers":
            asked.add_trailer("x-more", b"guest")
        case "call":
            called = pass_on(Message(authority="side", target="/called"))
            asked.set("x-called", called.values("x-origin")[0])
        case _ if asked.values("x-now"):
            misbehave(case)
    return None


def on_response(case: str, response: Message, name: list, read: bytes) -> None:
    """Changes a response."""
    match case:
        case "add":
            response.add("x-origin", b"guest")
        case "replace":
            response.set("x-origin", b"guest")
        case "remove":
            response.remove("x-origin")
        case "read":
            response.set("x-read", read)
        case "keep":
            response.set("x-kept", b"".join(name))
        case "replace-response-body":
            response.change(b"replaced")
        case "append-response":
            response.change(response.body + b"+guest")
        case "response-trailers":
            response.add_trailer("x-more", b"guest")


def misbehave(case: str) -> None:
    match case:
        case "trap":
            raise RuntimeError("as asked")
        case "loop":
            while True:
                pass
        case "bomb":
            kept = []
            while True:
                kept.append(b"x" * (1 << 20) + bytes(len(kept)))


def entries(fields: Fields) -> list:
    with fields:
        return list(fields.entries())


def received(request: IncomingRequest) -> Message:
    message = Message(
        entries(request.headers()),
        method=request.method(),
        authority=request.authority() or "",
        target=request.path_with_query() or "",
    )
    message.body, message.trailers = read_whole(request.consume())
    return message


def pass_on(message: Message) -> Message:
    """Sends a request on along the chain, or to an upstream, and reads all that comes back."""
    outgoing = OutgoingRequest(Fields.from_list(message.fields))
    outgoing.set_method(message.method)
    outgoing.set_scheme(Scheme_Http())
    outgoing.set_authority(message.authority)
    outgoing.set_path_with_query(message.target)
    body = outgoing.body()
    future = outgoing_handler.handle(outgoing, None)
    write_whole(body, message)
    with future.subscribe() as ready:
        ready.block()
    response = future.get().value.value
    back = Message(entries(response.headers()), status=response.status())
    back.body, back.trailers = read_whole(response.consume())
    return back


def read_whole(body: IncomingBody) -> tuple:
    whole = b""
    with body.stream() as stream:
        while True:
            try:
                whole += stream.blocking_read(65536)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    break
                raise
    future = IncomingBody.finish(body)
    with future.subscribe() as ready:
        ready.block()
    trailers = future.get().value.value
    return whole, None if trailers is None else entries(trailers)


def write_whole(body: OutgoingBody, message: Message) -> None:
    with body.write() as stream:
        # 4 KiB are written at a time.
        for at in range(0, len(message.body), 4096):
            stream.blocking_write_and_flush(message.body[at : at + 4096])
    OutgoingBody.finish(body, None if message.trailers is None else Fields.from_list(message.trailers))


def answer(response_out: ResponseOutparam, message: Message) -> None:
    response = OutgoingResponse(Fields.from_list(message.fields))
    response.set_status_code(message.status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    write_whole(body, message)
