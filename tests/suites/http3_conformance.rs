//! HTTP/3 as a client of raw frames meets it: runs `tests/tables/h3.txt` against a gateway. The format of the table is
//! described there.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use quinn::{Connection, ConnectionError, ReadToEndError, RecvStream, SendStream};
use tidegate_tests::{Authority, ConfigDir, Gateway, Origin, Tls, http3::quic};
use tokio::time::timeout;

const TABLE: &str = include_str!("../tables/h3.txt");
/// How long an answer may take that has to come.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_case_of_the_table() {
    let (origin, authority) = (Origin::start(), Authority::new());
    let issued = authority.issue(&["test.example"]);
    let dir = ConfigDir::new().with("origin", origin.address());
    dir.write("site.pem", &issued.pem);
    dir.write("site.key", &issued.key);
    dir.write(
        "gateway.yaml",
        "listeners:
  web:
    address: 127.0.0.1:0
    tls: {certificates: [{certificate: site.pem, key: site.key}]}
    http3: {}
upstreams: {origin: {endpoints: ['{origin}']}}
routes: [{id: all, path: /*, upstream: origin}]
",
    );
    let gateway = Gateway::start(&dir).await;
    let (tls, web) = (Tls::trusting(&authority), gateway.web());
    let mut failed = Vec::new();
    for case in TABLE.split("\n\n").filter_map(Case::read) {
        match case.play(&tls, web).await {
            Err(why) if !case.not_yet => failed.push(format!("{}: {why:.300}", case.name)),
            Ok(()) if case.not_yet => failed.push(format!("{}: it passes: strike out `not yet`", case.name)),
            _ => {}
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n  {}", failed.len(), failed.join("\n  "));
}

#[test]
fn the_table_has_each_case_once() {
    let cases: Vec<_> = TABLE.split("\n\n").filter_map(Case::read).collect();
    let names: BTreeSet<_> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len());
    assert!(cases.iter().filter(|case| case.name.ends_with("(h3spec)")).count() > 14);
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
        let bare = expected.trim_start_matches("not yet: ");
        Some(Self { name, steps, expected: bare.to_owned(), not_yet: bare != expected })
    }

    async fn play(&self, tls: &Tls, address: SocketAddr) -> Result<(), String> {
        let (connection, endpoint) = quic(tls, address, "test.example").await.map_err(|error| error.to_string())?;
        let mut peer = Peer::new(connection).await;
        if !self.steps.iter().any(|step| step.starts_with("control")) {
            peer.step("control SETTINGS").await;
        }
        for step in &self.steps {
            peer.step(step).await;
        }
        if !self.steps.iter().any(|step| step == "open")
            && let Some((send, _)) = &mut peer.request
        {
            drop(send.finish());
        }
        let outcome = timeout(PATIENCE, peer.expect(&self.expected)).await;
        drop(endpoint);
        outcome.map_err(|_| "nothing came".to_owned())?
    }
}

struct Peer {
    connection: Connection,
    control: SendStream,
    request: Option<(SendStream, RecvStream)>,
    others: Vec<SendStream>,
}

impl Peer {
    async fn new(connection: Connection) -> Self {
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&[0]).await.unwrap();
        Self { connection, control, request: None, others: Vec::new() }
    }

    /// A gateway that ended something already shows when reading.
    async fn step(&mut self, step: &str) {
        let (first, rest) = step.split_once(' ').unwrap_or((step, ""));
        match (first, rest) {
            ("open", _) => {}
            ("control", "end") => drop(self.control.finish()),
            ("control", line) => drop(self.control.write_all(&frame(line)).await),
            ("stream", line) => {
                let Ok(mut stream) = self.connection.open_uni().await else { return };
                drop(stream.write_all(&payload(line.trim_end_matches("end"))).await);
                if line.ends_with("end") {
                    drop(stream.finish());
                }
                self.others.push(stream);
            }
            _ => {
                if self.request.is_none() {
                    self.request = self.connection.open_bi().await.ok();
                }
                let Some((send, _)) = &mut self.request else { return };
                drop(send.write_all(&frame(step)).await);
            }
        }
    }

    async fn expect(&mut self, expected: &str) -> Result<(), String> {
        let (what, wanted) = expected.split_once(' ').unwrap_or((expected, ""));
        let seen = match what {
            "connection" => connection_code(&self.connection.closed().await),
            "stream" => {
                let (send, recv) = self.request.as_mut().ok_or("no request was sent")?;
                tokio::select! {
                    Ok(Some(code)) = send.stopped() => code_name(code.into_inner()),
                    answered = recv.read_to_end(ANSWER_BYTES_MAX) => match answered {
                        Err(ReadToEndError::Read(quinn::ReadError::Reset(code))) => code_name(code.into_inner()),
                        other => format!("{other:x?}"),
                    },
                }
            }
            "answer" => {
                let (_, recv) = self.request.as_mut().ok_or("no request was sent")?;
                match recv.read_to_end(ANSWER_BYTES_MAX).await {
                    Ok(bytes) => status(&bytes).ok_or_else(|| format!("it answers {bytes:x?}"))?,
                    Err(error) => format!("{error:?}"),
                }
            }
            other => format!("unknown: {other}"),
        };
        (seen == wanted).then_some(()).ok_or_else(|| format!("it answers {seen}"))
    }
}

// The status of a response, as the static table of QPACK has it.
fn status(bytes: &[u8]) -> Option<String> {
    let section = match bytes {
        [1, 0x40..0x80, _, section @ ..] | [1, 0..0x40, section @ ..] => section,
        _ => return None,
    };
    let index = match section {
        [0, 0, 0xff, more, ..] => 0x3f + usize::from(*more),
        [0, 0, first @ 0xc0..=0xff, ..] => usize::from(first & 0x3f),
        _ => return None,
    };
    let known = [(25, 200), (27, 404), (28, 503), (67, 400), (71, 500)];
    known.iter().find(|(at, _)| *at == index).map(|(_, status)| status.to_string())
}

fn connection_code(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(closed) => code_name(closed.error_code.into_inner()),
        other => format!("{other:?}"),
    }
}

fn code_name(code: u64) -> String {
    CODES
        .iter()
        .find(|(_, number)| *number == code)
        .map_or_else(|| format!("{code:#x}"), |(name, _)| (*name).to_owned())
}

const CODES: [(&str, u64); 20] = [
    ("H3_NO_ERROR", 0x100),
    ("H3_GENERAL_PROTOCOL_ERROR", 0x101),
    ("H3_INTERNAL_ERROR", 0x102),
    ("H3_STREAM_CREATION_ERROR", 0x103),
    ("H3_CLOSED_CRITICAL_STREAM", 0x104),
    ("H3_FRAME_UNEXPECTED", 0x105),
    ("H3_FRAME_ERROR", 0x106),
    ("H3_EXCESSIVE_LOAD", 0x107),
    ("H3_ID_ERROR", 0x108),
    ("H3_SETTINGS_ERROR", 0x109),
    ("H3_MISSING_SETTINGS", 0x10a),
    ("H3_REQUEST_REJECTED", 0x10b),
    ("H3_REQUEST_CANCELLED", 0x10c),
    ("H3_REQUEST_INCOMPLETE", 0x10d),
    ("H3_MESSAGE_ERROR", 0x10e),
    ("H3_CONNECT_ERROR", 0x10f),
    ("H3_VERSION_FALLBACK", 0x110),
    ("QPACK_DECOMPRESSION_FAILED", 0x200),
    ("QPACK_ENCODER_STREAM_ERROR", 0x201),
    ("QPACK_DECODER_STREAM_ERROR", 0x202),
];

const KINDS: [(&str, u8); 7] = [
    ("DATA", 0),
    ("HEADERS", 1),
    ("CANCEL_PUSH", 3),
    ("SETTINGS", 4),
    ("PUSH_PROMISE", 5),
    ("GOAWAY", 7),
    ("MAX_PUSH_ID", 13),
];

const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The frame of a line of the table.
fn frame(line: &str) -> Vec<u8> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let known = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, number)| u64::from(*number));
    let kind = known.unwrap_or_else(|| u64::from_str_radix(kind.trim_start_matches("0x"), 16).unwrap());
    let cut = rest.strip_prefix("cut ").map(|rest| rest.split_once(' ').unwrap_or((rest, "")));
    let (missing, rest) = cut.map_or((0, rest), |(missing, rest)| (missing.parse().unwrap(), rest));
    let payload = payload(rest);
    [integer(kind), integer(payload.len() as u64 + missing), payload].concat()
}

// RFC 9000 section 16, in one or two bytes.
fn integer(number: u64) -> Vec<u8> {
    if number < 64 { vec![number as u8] } else { (0x4000 | number as u16).to_be_bytes().to_vec() }
}

fn payload(text: &str) -> Vec<u8> {
    let named = |name: &str| match name {
        "@none" => vec![0, 0],
        "@get" => head(0xd1),
        "@post" => head(0xd4),
        other => panic!("unknown: {other}"),
    };
    tidegate_tests::payload(text, named, |name, value| {
        let length = name.len() as u8;
        let first = if length < 7 { vec![0x20 | length] } else { vec![0x27, length - 7] };
        [&first, name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    })
}

/// A method, `:scheme: https`, `:path: /` and `:authority: test.example`.
fn head(method: u8) -> Vec<u8> {
    [&[0, 0, method, 0xd7, 0xc1, 0x50, 12], &b"test.example"[..]].concat()
}
