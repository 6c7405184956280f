"""Answers /hello itself, sends back what comes to /echo, and passes everything else on: a request to where the request at
hand was for is what goes on along the route."""

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import (
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query()
        if path == "/hello":
            answer(response_out, 200, b"hello")
        elif path == "/echo":
            answer(response_out, 200, read(request.consume()))
        else:
            response = pass_on(request)
            answer(response_out, response.status(), read(response.consume()))


def pass_on(request: IncomingRequest):
    outgoing = OutgoingRequest(Fields.from_list([("x-passed", b"yes")]))
    outgoing.set_scheme(request.scheme())
    outgoing.set_authority(request.authority())
    outgoing.set_path_with_query(request.path_with_query())
    future = outgoing_handler.handle(outgoing, None)
    future.subscribe().block()
    return future.get().value.value


def read(body: IncomingBody) -> bytes:
    whole = b""
    with body.stream() as stream:
        while True:
            try:
                whole += stream.blocking_read(65536)
            except Err as error:
                if isinstance(error.value, StreamError_Closed):
                    return whole
                raise


def answer(response_out: ResponseOutparam, status: int, whole: bytes) -> None:
    response = OutgoingResponse(Fields.from_list([("x-by", b"wasi-http")]))
    response.set_status_code(status)
    body = response.body()
    ResponseOutparam.set(response_out, Ok(response))
    with body.write() as stream:
        # 4 KiB are written at a time.
        for at in range(0, len(whole), 4096):
            stream.blocking_write_and_flush(whole[at : at + 4096])
    OutgoingBody.finish(body, None)
