//! A connection to an upstream for a protocol that is not HTTP: its endpoint is chosen, and it counts, as those of calls
//! do. Whoever asked for it has it alone, and nobody keeps it after that.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Upstream, balance, connect, introduced, pool::Pools};
use crate::{
    error::Error,
    exchange::{Duplex, Request},
    state::Open,
    tls::{Offer, WorkerSocket},
};

impl Upstream {
    /// Connects to the endpoint that would have `request`.
    ///
    /// # Errors
    /// `NoEndpoint`, and those of [`connect::open`].
    pub(super) async fn open(&self, request: &Request) -> Result<Box<dyn Duplex>, Error> {
        let worker = &request.exchange.worker;
        let pools = worker.locals.of::<Pools>();
        let user = pools.facts(&self.name, &self.series);
        let turn = self.balancer.turn(worker, request).await;
        let Some(position) = turn.choose(&balance::Tried::new()) else { return Err(turn.nothing(&self.name)) };
        let endpoint = &turn.member(position).endpoint;
        let pool = pools.pool(worker, endpoint, &self.states);
        let first = self.spec.proxy_protocol.map(|version| introduced::header(version, &request.exchange));
        let since = Instant::now();
        let limits = (self.spec.connections_max, since + self.spec.connect_timeout);
        let target = (endpoint, self.connector.as_deref(), (Offer::Nothing, first.as_deref().unwrap_or_default()));
        let opened = connect::open(target, &pool, &user, &self.states, limits).await;
        let (socket, _, open) = opened.inspect_err(|error| turn.unreached(position, error.kind(), since))?;
        Ok(Box::new(Raw { socket, _open: open }))
    }
}

// Counted for as long as it is.
struct Raw {
    socket: WorkerSocket,
    _open: Open,
}

impl AsyncRead for Raw {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
