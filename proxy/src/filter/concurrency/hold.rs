//! A tunnel that holds a slot until it is closed. Knows nothing of what passes through it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    exchange::{Duplex, Tunnel},
    state::Slot,
};

/// `tunnel`, with `slot` in it.
pub(super) fn hold(tunnel: Tunnel, slot: Slot) -> Tunnel {
    Tunnel::new(async move {
        let end = tunnel.open().await?;
        Ok(Box::new(Held { end, _slot: slot }) as Box<dyn Duplex>)
    })
}

struct Held {
    end: Box<dyn Duplex>,
    _slot: Slot,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_read(cx, into)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.end).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.end).poll_shutdown(cx)
    }
}
