"""Calls of gRPC by Python's own library, through a gateway, to a server by the same library.

`server` prints its port and serves until its input ends. `client ADDRESS [CA]` makes every kind of call, and says what it found
by its exit code; with CA (a PEM file) over TLS. Messages are plain bytes: no code is generated.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "test.Python"
PLAIN = {"request_deserializer": bytes, "response_serializer": bytes}


class Calls(grpc.GenericRpcHandler):
    def __init__(self):
        self.cancelled = threading.Event()

    def service(self, details):
        name = details.method.rsplit("/", 1)[-1]
        kinds = {
            "Say": grpc.unary_unary_rpc_method_handler(self.say, **PLAIN),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail, **PLAIN),
            "Late": grpc.unary_unary_rpc_method_handler(self.late, **PLAIN),
            "Count": grpc.unary_stream_rpc_method_handler(self.count, **PLAIN),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum, **PLAIN),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, **PLAIN),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless, **PLAIN),
            "WasCancelled": grpc.unary_unary_rpc_method_handler(self.was_cancelled, **PLAIN),
        }
        return kinds.get(name)

    def say(self, request, context):
        seen = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-initial", seen.get("x-own", "none")), ("x-raw-bin", seen.get("x-raw-bin", b""))))
        context.set_trailing_metadata((("x-trailer", "last"),))
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "so it is"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: 50% ä")

    def late(self, request, context):
        if request == b"left":
            return str(context.time_remaining()).encode()
        time.sleep(5)
        return b"too late"

    def count(self, request, context):
        for number in range(int(request)):
            yield str(number).encode()
        if int(request) == 3:
            context.abort(grpc.StatusCode.DATA_LOSS, "it broke")

    def sum(self, requests, context):
        return str(sum(int(number) for number in requests)).encode()

    def chat(self, requests, context):
        for request in requests:
            yield request

    def endless(self, request, context):
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield b"more"
            time.sleep(0.01)

    def was_cancelled(self, request, context):
        return b"yes" if self.cancelled.wait(10) else b"no"


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((Calls(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} is not {expected!r}")


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    sys.exit("a call that should fail did not")


def ask(channel):
    def method(kind, name):
        return getattr(channel, kind)(f"/{SERVICE}/{name}", request_serializer=bytes, response_deserializer=bytes)

    say = method("unary_unary", "Say")
    answer, call = say.with_call(b"hello", metadata=(("x-own", "mine"), ("x-raw-bin", b"\x00\xff")), timeout=20)
    check("unary", answer, b"hello")
    initial = dict(call.initial_metadata())
    check("initial metadata", (initial["x-initial"], initial["x-raw-bin"]), ("mine", b"\x00\xff"))
    check("trailers", dict(call.trailing_metadata())["x-trailer"], "last")
    check("code", call.code(), grpc.StatusCode.OK)
    large = b"x" * 3_000_000
    check("large", say(large, timeout=20) == large, True)

    error = failure(lambda: method("unary_unary", "Fail")(b"", timeout=20))
    check("status", (error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not so: 50% ä"))
    check("trailers of a failure", dict(error.trailing_metadata())["x-why"], "so it is")
    error = failure(lambda: method("unary_unary", "Nothing")(b"", timeout=20))
    check("unknown method", error.code(), grpc.StatusCode.UNIMPLEMENTED)

    late = method("unary_unary", "Late")
    left = float(late(b"left", timeout=20))
    check("the deadline arrives", 1 < left < 60, True)
    error = failure(lambda: late(b"", timeout=0.3))
    check("deadline", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    counted = list(method("unary_stream", "Count")(b"1000", timeout=20))
    check("server streaming", counted, [str(number).encode() for number in range(1000)])
    stream, seen = method("unary_stream", "Count")(b"3", timeout=20), []
    error = failure(lambda: seen.extend(stream) or [seen.append(one) for one in stream])
    check("a stream that breaks", (error.code(), error.details()), (grpc.StatusCode.DATA_LOSS, "it broke"))
    numbers = (str(number).encode() for number in range(1000))
    check("client streaming", method("stream_unary", "Sum")(numbers, timeout=20), b"499500")

    turn = threading.Semaphore(1)

    def requests():
        for number in range(50):
            turn.acquire()
            yield str(number).encode()

    answers = []
    for answer in method("stream_stream", "Chat")(requests(), timeout=20):
        answers.append(answer)
        # The next one is sent only when this one is there.
        turn.release()
    check("both streaming in turns", answers, [str(number).encode() for number in range(50)])

    endless = method("unary_stream", "Endless")(b"")
    next(endless)
    endless.cancel()
    check("the server hears of a cancelled call", method("unary_unary", "WasCancelled")(b"", timeout=20), b"yes")

    nobody = channel.unary_unary("/test.Nobody/Say", request_serializer=bytes, response_deserializer=bytes)
    check("nobody there", failure(lambda: nobody(b"", timeout=20)).code(), grpc.StatusCode.UNAVAILABLE)
    nowhere = channel.unary_unary("/test.Nowhere/Say", request_serializer=bytes, response_deserializer=bytes)
    check("no route", failure(lambda: nowhere(b"", timeout=20)).code(), grpc.StatusCode.UNIMPLEMENTED)


def client(address, authority=None):
    if authority is None:
        channel = grpc.insecure_channel(address)
    else:
        with open(authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        options = (("grpc.ssl_target_name_override", "grpc.test"),)
        channel = grpc.secure_channel(address, credentials, options)
    with channel:
        ask(channel)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve()
    else:
        client(*sys.argv[2:])
