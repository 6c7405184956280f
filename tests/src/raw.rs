//! A client that sends bytes as they are: for requests that no library would send.

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use crate::wire::{self, Framing, Head, Whole};

/// How long a peer may be silent before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub struct Raw {
    socket: BufStream<TcpStream>,
}

/// One response.
#[derive(Debug)]
pub struct Response {
    /// Status line and fields.
    pub head: Head,
    /// To its end.
    pub body: Whole,
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("the gateway accepts");
        socket.set_nodelay(true).expect("a TCP socket takes the option");
        Self { socket: BufStream::new(socket) }
    }

    /// Sends bytes. A gateway that closed already is not an error here; it shows when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.try_send(bytes).await);
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The socket's.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref()).await?;
        self.socket.flush().await
    }

    /// Reads one head, informational ones included.
    ///
    /// # Panics
    /// When none comes.
    pub async fn head(&mut self) -> Head {
        let head = tokio::time::timeout(PATIENCE, wire::read_head(&mut self.socket)).await;
        head.expect("the gateway answers").expect("a whole head").expect("an answer before the end")
    }

    /// Reads one final response to a request with `method`; `None` where the connection ended instead.
    ///
    /// # Panics
    /// When the gateway falls silent.
    pub async fn response(&mut self, method: &str) -> Option<Response> {
        loop {
            let head = tokio::time::timeout(PATIENCE, wire::read_head(&mut self.socket)).await;
            let head = head.expect("the gateway answers or closes").ok().flatten()?;
            if (100..200).contains(&head.status()) && head.status() != 101 {
                continue;
            }
            let none = method == "HEAD" || [101, 204, 304].contains(&head.status());
            let framing = if none { Framing::Length(0) } else { head.framing(Framing::Close) };
            let body = tokio::time::timeout(PATIENCE, wire::read_whole(&mut self.socket, framing)).await;
            return Some(Response { head, body: body.expect("the body ends").ok()? });
        }
    }

    /// Reads what is sent until `length` bytes are there.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = tokio::time::timeout(PATIENCE, self.socket.read_exact(&mut bytes)).await;
        read.expect("the bytes come").expect("the connection stays");
        bytes
    }

    /// Reads all that is sent until the connection ends, by a close or a reset.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        drop(tokio::time::timeout(PATIENCE, self.socket.read_to_end(&mut rest)).await.expect("the connection ends"));
        rest
    }

    /// Closes the sending half.
    pub async fn finish(&mut self) {
        drop(self.socket.shutdown().await);
    }

    /// Cuts the connection with a reset.
    pub fn reset(self) {
        SockRef::from(self.socket.get_ref()).set_linger(Some(Duration::ZERO)).expect("a TCP socket lingers");
    }
}
