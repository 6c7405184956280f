//! One request over an HTTP/2 connection of its own, for health checks. Knows nothing of what is asked.

use std::io;

use bytes::Bytes;
use http::{Request, Response};

use crate::tls::Socket;

/// Sends `request` with `body` and hands the answer to `judge`; the connection ends with its verdict.
///
/// # Errors
/// The connection's and the stream's, and those of `judge`.
pub(super) async fn send(
    io: Socket,
    request: Request<()>,
    body: Option<Bytes>,
    judge: impl AsyncFnOnce(Response<h2::RecvStream>) -> io::Result<()>,
) -> io::Result<()> {
    let handshake = h2::client::Builder::new().handshake::<_, Bytes>(io).await;
    let (sender, connection) = handshake.map_err(io::Error::other)?;
    // The connection is driven beside its one stream, and dropped with it.
    let exchange = async move {
        let mut sender = sender.ready().await.map_err(io::Error::other)?;
        let (answer, mut stream) = sender.send_request(request, body.is_none()).map_err(io::Error::other)?;
        if let Some(body) = body {
            stream.send_data(body, true).map_err(io::Error::other)?;
        }
        judge(answer.await.map_err(io::Error::other)?).await
    };
    tokio::select! {
        result = exchange => result,
        ended = connection => Err(ended.err().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), io::Error::other)),
    }
}
