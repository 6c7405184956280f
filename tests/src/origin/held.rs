//! A request that the test answers by hand, byte by byte where it wants to.

use std::io;

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::{Open, Socket, serve};
use crate::wire::{self, Framing, Head, Whole};

/// The requests for one path, in the order of their arrival.
#[derive(Debug)]
pub struct Hold {
    pub(super) requests: mpsc::UnboundedReceiver<Held>,
}

impl Hold {
    /// The next request.
    ///
    /// # Panics
    /// When none comes within 20 seconds.
    pub async fn next(&mut self) -> Held {
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), self.requests.recv());
        next.await.expect("a request arrives at the origin").expect("the origin runs")
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// A request and the connection that it came on.
#[derive(Debug)]
pub struct Held {
    /// What was asked for.
    pub head: Head,
    framing: Framing,
    socket: Socket,
    open: Open,
}

impl Held {
    pub(super) fn new(head: Head, socket: Socket, open: Open) -> Self {
        let framing = head.framing(Framing::Length(0));
        Self { head, framing, socket, open }
    }

    /// The next piece of the request body; `None` at its end.
    ///
    /// # Errors
    /// The socket's.
    pub async fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(wire::read_piece(&mut self.socket, &mut self.framing).await?.ok())
    }

    /// The request body to its end.
    ///
    /// # Errors
    /// The socket's.
    pub async fn whole(&mut self) -> io::Result<Whole> {
        let whole = wire::read_whole(&mut self.socket, self.framing).await;
        self.framing = Framing::Length(0);
        whole
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the gateway reads");
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The socket's: the gateway may have gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref()).await?;
        self.socket.flush().await
    }

    /// Begins a chunked response.
    pub async fn begin(&mut self, status: u16, fields: &str) {
        self.send(format!("HTTP/1.1 {status} Whatever\r\ntransfer-encoding: chunked\r\n{fields}\r\n")).await;
    }

    /// Sends one chunk.
    pub async fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Ends a chunked response; `trailers` are whole lines.
    pub async fn end(&mut self, trailers: &str) {
        self.send(format!("0\r\n{trailers}\r\n")).await;
    }

    /// A whole response with a length.
    pub async fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        self.send(format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {length}\r\n\r\n{body}")).await;
    }

    /// Gives the connection back to the origin, which serves what comes on it next.
    pub fn keep(self) {
        tokio::spawn(async move { drop(serve(self.socket, self.open).await) });
    }

    /// Cuts the connection with a reset.
    pub fn reset(self) {
        SockRef::from(self.socket.get_ref()).set_linger(Some(std::time::Duration::ZERO)).expect("a TCP socket lingers");
    }

    /// Waits until the gateway closes or resets the connection, reading what it still sends.
    pub async fn gone(&mut self) {
        let mut rest = Vec::new();
        let gone = tokio::time::timeout(std::time::Duration::from_secs(20), self.socket.read_to_end(&mut rest));
        drop(gone.await.expect("the gateway lets go of the connection"));
    }
}
