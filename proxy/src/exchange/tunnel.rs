//! Tunnels: what is left of an exchange after a 101. Holds bytes both ways and no snapshot.

use std::{fmt, io};

use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// One end of a tunnel, to be had once its protocol switch is through.
pub struct Tunnel(LocalBoxFuture<'static, io::Result<Box<dyn Duplex>>>);

impl Tunnel {
    /// A tunnel whose end `ready` yields.
    pub fn new(ready: impl Future<Output = io::Result<Box<dyn Duplex>>> + 'static) -> Self {
        Self(Box::pin(ready))
    }

    /// Waits for this end.
    ///
    /// # Errors
    /// When the connection ended before the switch was through.
    pub async fn open(self) -> io::Result<Box<dyn Duplex>> {
        self.0.await
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}
