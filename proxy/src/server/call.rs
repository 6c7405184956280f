//! Calls of gRPC: their deadline, and how what the gateway has to say is said to them. A client of gRPC reads the status
//! in trailers, and takes any other answer for a defect.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Version};

use crate::{
    error::Error,
    exchange::{Exchange, Response, rpc, rpc::Rpc},
};

/// Sets the deadline of the exchange: its route's, or the one that its client asks for where that is before.
pub(super) fn set_deadline(exchange: &Exchange, timeout: Option<Duration>, headers: &HeaderMap) {
    exchange.deadline.set(timeout.and_then(|timeout| exchange.started.checked_add(timeout)));
    if exchange.rpc.get() == Rpc::None {
        return;
    }
    if let Some(asked) = rpc::timeout(headers).and_then(|timeout| exchange.started.checked_add(timeout)) {
        let deadline = exchange.deadline.get().map_or(asked, |route| route.min(asked));
        exchange.deadline.set(Some(deadline));
    }
}

/// Makes of what is no answer to a call one that its client understands.
pub(super) fn answer(exchange: &Exchange, response: &mut Response) {
    if exchange.rpc.get() == Rpc::None {
        return;
    }
    if !rpc::is_answer(&response.head.headers) {
        let status = response.head.status;
        if exchange.rpc.get() != Rpc::Grpc || status.is_informational() || status.is_success() {
            return;
        }
        rpc::translate(exchange, response, &GRPC);
    }
    note_status(exchange, &response.head.headers);
}

/// Notes the status that trailers, or a head without a body, say.
pub(super) fn note_status(exchange: &Exchange, fields: &HeaderMap) {
    if exchange.rpc.get() != Rpc::None
        && let Some(status) = rpc::status(fields)
    {
        exchange.record.note(|record| record.grpc_status = Some(status));
    }
}

/// The trailers by which a response that breaks off says so, where its client reads them: over HTTP/1.1 it would look
/// whole.
pub(super) fn broken_off(exchange: &Exchange, error: &Error) -> Option<HeaderMap> {
    if exchange.rpc.get() != Rpc::Grpc || exchange.version < Version::HTTP_2 {
        return None;
    }
    let trailers = rpc::Code::of_failure(error.kind()).trailers(error.kind().client_text());
    note_status(exchange, &trailers);
    Some(trailers)
}

static GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
