//! HTTP/2 as a client of raw frames meets it: runs `tests/tables/h2.txt` (the cases of h2spec) against a gateway, in
//! cleartext and over TLS. The format of the table is described there.

use std::{collections::BTreeMap, time::Duration};

use tidegate_tests::{Authority, ConfigDir, Gateway, Origin, Tls, TlsOptions};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const TABLE: &str = include_str!("../tables/h2.txt");
/// How long an answer may take that has to come.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_case_of_the_table_in_cleartext() {
    let (_origin, _dir, gateway, _authority) = scene().await;
    run(async || Box::new(TcpStream::connect(gateway.listener("clear")).await.unwrap()) as Box<dyn Stream>).await;
}

#[tokio::test]
async fn every_case_of_the_table_over_tls() {
    let (_origin, _dir, gateway, authority) = scene().await;
    let tls = Tls::with(&authority, &TlsOptions { alpn: &["h2"], ..TlsOptions::default() });
    let address = gateway.listener("secure");
    run(async || Box::new(tls.connect(address, "localhost").await.unwrap()) as Box<dyn Stream>).await;
}

#[test]
fn the_table_has_every_case_of_each_part() {
    let mut parts = BTreeMap::<&str, usize>::new();
    let cases: Vec<_> = TABLE.split("\n\n").filter_map(Case::read).collect();
    for case in &cases {
        *parts.entry(case.name.split('/').next().unwrap()).or_default() += 1;
    }
    assert_eq!(parts, BTreeMap::from([("generic", 44), ("hpack", 8), ("http2", 95)]));
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| case.number()).collect();
    assert_eq!(names.len(), cases.len(), "each number once");
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn scene() -> (Origin, ConfigDir, Gateway, Authority) {
    let (origin, authority) = (Origin::start(), Authority::new());
    let issued = authority.issue(&["localhost"]);
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("site.pem", &issued.pem);
    dir.write("site.key", &issued.key);
    dir.write(
        "gateway.yaml",
        "listeners:
  clear: {address: '127.0.0.1:0', limits: {streams-max: 8}}
  secure:
    address: 127.0.0.1:0
    tls: {certificates: [{certificate: site.pem, key: site.key}]}
    limits: {streams-max: 8}
upstreams: {origin: {endpoints: ['{origin}']}}
routes: [{id: all, path: /*, upstream: origin}]
",
    );
    let gateway = Gateway::start(&dir).await;
    (origin, dir, gateway, authority)
}

async fn run(connect: impl AsyncFn() -> Box<dyn Stream>) {
    let mut failed = Vec::new();
    for case in TABLE.split("\n\n").filter_map(Case::read) {
        let outcome = case.play(connect().await).await;
        match outcome {
            Err(why) if !case.not_yet => failed.push(format!("{}: {why:.300}", case.name)),
            Ok(()) if case.not_yet => failed.push(format!("{}: it passes: strike out `not yet`", case.name)),
            _ => {}
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n  {}", failed.len(), failed.join("\n  "));
}

struct Case {
    name: String,
    steps: Vec<String>,
    expected: String,
    not_yet: bool,
}

impl Case {
    fn read(block: &str) -> Option<Self> {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let name = lines.next()?.to_owned();
        let (expected, steps): (Vec<_>, Vec<_>) = lines.map(str::to_owned).partition(|line| line.starts_with("=> "));
        let expected = expected.first()?.trim_start_matches("=> ");
        let (not_yet, expected) = match expected.strip_prefix("not yet: ") {
            Some(expected) => (true, expected.to_owned()),
            None => (false, expected.to_owned()),
        };
        Some(Self { name, steps, expected, not_yet })
    }

    fn number(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }

    async fn play(&self, stream: Box<dyn Stream>) -> Result<(), String> {
        let mut peer = Peer { stream, open: true, seen: Vec::new() };
        if let Some(text) = self.steps.first().and_then(|step| step.strip_prefix("raw ")) {
            peer.send(&text.trim_matches('"').replace("\\r", "\r").replace("\\n", "\n").into_bytes()).await;
            return peer.expect("close").await;
        }
        peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer.send(&frame(4, 0, 0, &[])).await;
        peer.until(|frame| frame.kind == 4 && frame.flags & 1 == 1).await?;
        peer.send(&frame(4, 1, 0, &[])).await;
        if self.expected == "settings" {
            let first = peer.seen.first().map(|frame| (frame.kind, frame.flags));
            return (first == Some((4, 0))).then_some(()).ok_or_else(|| format!("the first frame is {first:?}"));
        }
        peer.seen.clear();
        for step in &self.steps {
            match step.strip_prefix("wait ") {
                Some(what) => peer.wait(what).await?,
                None => peer.send(&written(step)).await,
            }
        }
        peer.expect(&self.expected).await
    }
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Peer {
    stream: Box<dyn Stream>,
    open: bool,
    seen: Vec<Frame>,
}

const MARK: &[u8] = b"the mark";

impl Peer {
    /// A gateway that closed already shows when reading.
    async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// The next frame; `None` at the end of the connection.
    async fn next(&mut self) -> Result<Option<&Frame>, String> {
        if !self.open {
            return Ok(None);
        }
        let read = timeout(PATIENCE, read_frame(&mut self.stream)).await;
        match read.map_err(|_| format!("nothing more came after {:?}", self.seen))? {
            Some(frame) => {
                self.seen.push(frame);
                Ok(self.seen.last())
            }
            None => {
                self.open = false;
                Ok(None)
            }
        }
    }

    async fn until(&mut self, mut is_it: impl FnMut(&Frame) -> bool) -> Result<(), String> {
        loop {
            match self.next().await? {
                Some(frame) if is_it(frame) => return Ok(()),
                Some(_) => {}
                None => return Err(format!("the connection ended after {:?}", self.seen)),
            }
        }
    }

    async fn wait(&mut self, what: &str) -> Result<(), String> {
        let (kind, number) = what.split_once(' ').unwrap_or((what, "0"));
        let number: u32 = number.parse().unwrap();
        match kind {
            "end" => self.until(|frame| frame.stream == number && frame.kind <= 1 && frame.flags & 1 == 1).await,
            "data" => self.until(|frame| frame.kind == 0 && frame.payload.len() == number as usize).await,
            other => Err(format!("unknown: wait {other}")),
        }
    }

    async fn expect(&mut self, expected: &str) -> Result<(), String> {
        let words: Vec<_> = expected.split(' ').collect();
        match words[0] {
            "ping" => {
                self.send(&frame(6, 0, 0, MARK)).await;
                let answered = |frame: &Frame| frame.kind == 6 && frame.flags & 1 == 1 && frame.payload == MARK;
                let pinged = self.until(answered).await;
                if words.len() > 1 && !self.open { Ok(()) } else { pinged }
            }
            "answer" => {
                let stream: u32 = words[1].parse().unwrap();
                self.until(|frame| frame.kind == 1 && frame.stream == stream).await
            }
            "data" => self.wait(expected).await,
            "ack" => self.until(|frame| frame.kind == 4 && frame.flags & 1 == 1).await,
            "close" => {
                while self.next().await?.is_some() {}
                Ok(())
            }
            "goaway" => self.until(|frame| frame.kind == 7 && code(frame, 4) == words[1]).await,
            "connection" | "stream" => {
                let stream = words[0] == "stream";
                while let Some(frame) = self.next().await? {
                    let code = match frame.kind {
                        3 if stream => code(frame, 0),
                        7 => code(frame, 4),
                        _ => continue,
                    };
                    if words[1..].contains(&code) {
                        return Ok(());
                    }
                    return Err(format!("it answers {code} in {:?}", self.seen));
                }
                Ok(())
            }
            other => Err(format!("unknown: {other}")),
        }
    }
}

async fn read_frame(stream: &mut Box<dyn Stream>) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, rest @ ..] = head;
    let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(rest) & 0x7fff_ffff, payload })
}

fn code(frame: &Frame, at: usize) -> &'static str {
    let number = frame.payload.get(at..at + 4).map_or(99, |code| u32::from_be_bytes(code.try_into().unwrap()));
    CODES.get(number as usize).copied().unwrap_or("?")
}

const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The frame of a line of the table.
fn written(line: &str) -> Vec<u8> {
    let mut words = line.splitn(4, ' ');
    let (kind, flags, stream) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let hex = |text: &str| text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16).unwrap());
    let known = KINDS.iter().position(|known| *known == kind);
    let kind = known.map_or_else(|| hex(kind).unwrap_or_else(|| panic!("{line}")) as u8, |at| at as u8);
    let flag = |name: &str| match name {
        "-" => 0,
        "END" | "ACK" => 1,
        "HEADERS" => 4,
        "PADDED" => 8,
        "PRIORITY" => 0x20,
        other => hex(other).unwrap_or_else(|| panic!("{line}")) as u8,
    };
    let flags = flags.split('+').fold(0, |all, name| all | flag(name));
    let stream = hex(stream).unwrap_or_else(|| stream.parse().unwrap());
    frame(kind, flags, stream, &payload(words.next().unwrap_or_default()))
}

fn payload(text: &str) -> Vec<u8> {
    let named = |name: &str| match name {
        "@get" => block(&[0x82]),
        "@post" => block(&[0x83]),
        "@head" => block(&[2, 4, b'H', b'E', b'A', b'D']),
        other => panic!("unknown: {other}"),
    };
    let string = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    tidegate_tests::payload(text, named, |name, value| [vec![0], string(name), string(value)].concat())
}

/// A method, `:scheme: http`, `:path: /` and `:authority: a`.
fn block(method: &[u8]) -> Vec<u8> {
    [method, &[0x86, 0x84, 1, 1, b'a']].concat()
}
