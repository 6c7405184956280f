//! The admin's HTTP/1.1 front: accepts, reads a head and a bounded body, hands them to the endpoints. The only file
//! of this room that names hyper. Connections are few and bounded; a slow client is cut off.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

use super::{
    api::{self, Api, Reply},
    guard::Via,
};

/// Open connections of each of the two; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// A head, from the first byte or the end of the last request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// A body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// After an `accept` that failed: what lacks (descriptors, memory) does not come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves over TCP, for ever.
pub(super) async fn serve_tcp(listener: TcpListener, api: Arc<Api>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(permit) = enter(&room).await {
        match listener.accept().await {
            Ok((stream, peer)) => serve(stream, Via::Tcp(peer.ip()), &api, permit),
            Err(error) => pause(&error).await,
        }
    }
}

/// Serves over a Unix socket, for ever.
pub(super) async fn serve_unix(listener: UnixListener, api: Arc<Api>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(permit) = enter(&room).await {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, Via::Unix, &api, permit),
            Err(error) => pause(&error).await,
        }
    }
}

// `None` would be a semaphore that someone closed, and nobody does.
async fn enter(room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(room).acquire_owned().await.ok()
}

async fn pause(error: &io::Error) {
    tracing::warn!(%error, "the admin endpoint cannot accept a connection");
    time::sleep(ACCEPT_PAUSE).await;
}

fn serve<S>(stream: S, via: Via, api: &Arc<Api>, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let api = Arc::clone(api);
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(respond(&api, request, via).await) }
        });
        let mut front = http1::Builder::new();
        front.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
        if let Err(error) = front.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "an admin connection ended");
        }
        drop(permit);
    });
}

async fn respond(api: &Api, request: Request<Incoming>, via: Via) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let reply = match api.admit(&head, via) {
        Err(refusal) => *refusal,
        Ok(endpoint) => match read(body, endpoint.body_bytes_max).await {
            Err(refusal) => refusal,
            Ok(body) => api.answer(endpoint, &head, &body).await,
        },
    };
    tracing::debug!(method = %head.method, path = head.uri.path(), status = reply.status().as_u16(), ?via, "admin");
    reply.map(Full::new)
}

async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Reply> {
    let whole = time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match whole {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(api::error(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body has more than {bytes_max} bytes")))
        }
        Ok(Err(error)) => Err(api::error(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}"))),
        Err(_elapsed) => Err(api::error(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")),
    }
}
