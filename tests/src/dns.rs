//! A small name server over UDP, on a port of its own, whose records a test changes while it runs. Knows A, AAAA and SRV
//! records and how to fail.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// A running name server; ended with the value.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    records: Mutex<HashMap<String, (u32, Vec<Record>)>>,
    mode: Mutex<Mode>,
    queries: AtomicUsize,
    ended: AtomicBool,
}

/// What a name has.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address (A or AAAA).
    Address(IpAddr),
    /// A service (RFC 2782): priority, weight, port, target.
    Service(u16, u16, u16, String),
}

/// How the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// With its records; a name that has none does not exist.
    #[default]
    Good,
    /// With SERVFAIL.
    Failing,
    /// Not at all.
    Silent,
}

impl Dns {
    /// A server without records.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket takes a timeout");
        let address = socket.local_addr().expect("a bound socket has an address");
        let state = Arc::<State>::default();
        let own = Arc::clone(&state);
        Self { address, state, thread: Some(thread::spawn(move || serve(&socket, &own))) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, `name` has these records, which hold for `ttl` seconds.
    pub fn set(&self, name: &str, ttl: u32, records: impl IntoIterator<Item = Record>) {
        let records = (ttl, records.into_iter().collect());
        self.state.records.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), records);
    }

    /// From now on, it answers like this.
    pub fn mode(&self, mode: Mode) {
        *self.state.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// Questions since it began.
    pub fn queries(&self) -> usize {
        self.state.queries.load(Relaxed)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the name server does not panic");
        }
    }
}

fn serve(socket: &UdpSocket, state: &State) {
    let mut buffer = [0; 1500];
    while !state.ended.load(Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        state.queries.fetch_add(1, Relaxed);
        if let Some(answer) = answer(&buffer[..length], state) {
            // Who asked may have gone.
            drop(socket.send_to(&answer, peer));
        }
    }
}

// RFC 1035 section 4.1: one question, its records, nothing else.
fn answer(query: &[u8], state: &State) -> Option<Vec<u8>> {
    let mode = *state.mode.lock().unwrap_or_else(PoisonError::into_inner);
    if mode == Mode::Silent {
        return None;
    }
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let known = state.records.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    let exists = known.is_some();
    let (ttl, records) = known.unwrap_or_default();
    let data: Vec<_> = records.iter().filter_map(|record| data(record, kind)).collect();
    let (data, code) = match (mode, exists) {
        (Mode::Failing, _) => (Vec::new(), 2),
        (_, false) => (Vec::new(), 3),
        (_, true) => (data, 0),
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x84 | query[2] & 1, 0x80 | code]);
    answer.extend([0, 1, 0, u8::try_from(data.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(&query[12..end + 4]);
    for data in data {
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

// The name that is asked for, and where its type stands.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at + 1));
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).into_owned());
        at += 1 + length;
    }
}

fn data(record: &Record, kind: u16) -> Option<Vec<u8>> {
    match record {
        Record::Address(IpAddr::V4(address)) if kind == 1 => Some(address.octets().to_vec()),
        Record::Address(IpAddr::V6(address)) if kind == 28 => Some(address.octets().to_vec()),
        Record::Service(priority, weight, port, target) if kind == 33 => {
            let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
            for label in target.split('.') {
                data.push(u8::try_from(label.len()).ok()?);
                data.extend(label.bytes());
            }
            data.push(0);
            Some(data)
        }
        _ => None,
    }
}
