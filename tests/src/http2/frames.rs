//! A connection of HTTP/2 frame by frame, for what no correct peer does at the right moment.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A frame (RFC 9113 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// The type of a frame that opens a stream.
pub const HEADERS: u8 = 1;
/// The type of a frame that resets a stream.
pub const RST_STREAM: u8 = 3;
/// The type of a frame that says settings.
pub const SETTINGS: u8 = 4;
/// The type of a frame that asks whether a connection stands.
pub const PING: u8 = 6;
/// The type of a frame that ends a connection.
pub const GOAWAY: u8 = 7;
/// The type of a frame that allows more bytes.
pub const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server's end of a connection.
#[derive(Debug)]
pub struct Frames {
    socket: TcpStream,
    // Whether PINGs are answered while other frames are waited for.
    answers_pings: bool,
}

impl Frames {
    /// Accepts a connection and says `settings` (identifiers and values).
    pub async fn accept(listener: &TcpListener, settings: &[(u16, u32)]) -> Self {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await.expect("somebody connects");
        let mut frames = Self { socket: accepted.expect("a connection is accepted").0, answers_pings: true };
        let mut preface = [0; PREFACE.len()];
        frames.socket.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(preface, *PREFACE);
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        frames.send(SETTINGS, 0, 0, &payload).await;
        frames
    }

    /// From now on, PINGs are not answered.
    pub fn play_dead(&mut self) {
        self.answers_pings = false;
    }

    /// Sends a frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.socket.write_all(&frame).await.expect("the other end reads");
    }

    /// Answers a stream with 200 and this body.
    pub async fn answer(&mut self, stream: u32, body: &str) {
        // `:status: 200` is the eighth entry of the static table (RFC 7541 appendix A).
        self.send(HEADERS, 4, stream, &[0x88]).await;
        self.send(0, 1, stream, body.as_bytes()).await;
    }

    /// The next frame; none when the connection is over.
    pub async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a frame or an end")
    }

    /// The next frame of this type, the others passed over; none when the connection is over.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, &[]).await;
            }
            if frame.kind == PING && frame.flags & ACK == 0 && self.answers_pings {
                self.send(PING, ACK, 0, &frame.payload).await;
            }
            if frame.kind == kind && frame.flags & (ACK * u8::from(kind == SETTINGS || kind == PING)) == 0 {
                return Some(frame);
            }
        }
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
    }
}
