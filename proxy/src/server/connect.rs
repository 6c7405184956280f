//! WebSocket on a stream of HTTP/2 (RFC 8441): an extended CONNECT becomes the upgrade that an HTTP/1.1 client would
//! have asked for, so that routes, steps and upstreams know one form of it; and the agreement to it becomes the stream's
//! 200. Knows no bytes of the tunnel.

use std::rc::Rc;

use http::{HeaderValue, Method, header};
use hyper::{ext::Protocol, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use super::{life::Life, tunnel::Switch};
use crate::{
    error::{Error, Kind},
    exchange::{Response, websocket},
};

/// A stream that is to become a tunnel.
#[derive(Debug)]
pub(super) struct Opening {
    stream: OnUpgrade,
    // What proves that the upstream read the key that was made for it.
    accept: HeaderValue,
}

/// Makes an upgrade of an extended CONNECT for WebSocket; any other CONNECT is left as it is.
pub(super) fn open<B>(request: &mut http::Request<B>) -> Option<Opening> {
    let protocol = request.extensions().get::<Protocol>()?;
    if *request.method() != Method::CONNECT || !protocol.as_str().eq_ignore_ascii_case("websocket") {
        return None;
    }
    let stream = hyper::upgrade::on(&mut *request);
    *request.method_mut() = Method::GET;
    let key = websocket::key();
    let accept = websocket::accept(key.as_bytes());
    request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
    Some(Opening { stream, accept })
}

impl Opening {
    /// Runs the tunnel that `response` agrees to, once its head is sent; what is left of the response is that head.
    ///
    /// # Errors
    /// Where the upstream did not show that it read the key.
    pub(super) fn switch(self, response: &mut Response, switch: Switch, life: &Life) -> Result<(), Error> {
        let headers = &mut response.head.headers;
        if headers.remove(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != self.accept) {
            return Err(Error::new(Kind::UpstreamMalformed, "a 101 whose Sec-WebSocket-Accept answers another key"));
        }
        let session = Rc::clone(&life.session);
        let open = session.hold_open();
        tokio::task::spawn_local(async move {
            match self.stream.await {
                Ok(stream) => switch.run(TokioIo::new(stream), &[], &session).await,
                Err(error) => tracing::debug!(peer = %session.connection.peer, %error, "no tunnel came of a stream"),
            }
            drop(open);
        });
        Ok(())
    }
}
