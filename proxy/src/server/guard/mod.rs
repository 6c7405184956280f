//! The HTTP/1 guard: reads the framing of a byte stream ahead of the codec and lets through only what can be read in one
//! way (RFC 9112, strictly; sections 2.2, 3, 5, 6, 7 and 11.2). hyper is lenient where smuggling lives: bare line feeds,
//! two lengths, lengths beside codings, odd chunk sizes. A pure state machine: it sees bytes and says how many may pass.
//! What a request means (its host, its path) is not looked at here.

mod chunk;
mod head;
mod line;

use crate::error::Kind;

use chunk::Chunks;
use head::{Framing, Head};

/// The limits of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Request line and fields. Over it: 431.
    pub(super) head_bytes_max: usize,
    /// Fields. Over it: 431.
    pub(super) headers_max: usize,
    /// The request target. Over it: 414.
    pub(super) uri_bytes_max: usize,
}

/// What becomes of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many of them, from the front, may pass. The rest is to be shown again, with more behind it.
    pub(super) pass: usize,
    /// What holds after those.
    pub(super) then: Then,
}

/// What holds after the bytes that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// More bytes are needed to say.
    More,
    /// A request that asks for another protocol has just passed: what follows may be of that protocol, and must wait
    /// until it is known.
    Switch,
    /// Nothing after them may pass, ever.
    Fault(Fault),
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// How the client is told.
    pub(super) kind: Kind,
    /// For the log.
    pub(super) detail: &'static str,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Scanner {
    bounds: Bounds,
    state: State,
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head(Head),
    // What is left of a body with a length.
    Sized(u64),
    Chunked(Chunks),
    // Where it went wrong: in a head, or else in a body.
    Faulty { fault: Fault, in_head: bool },
}

impl Scanner {
    /// A stream at its beginning.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: State::Head(Head::default()), heads: 0 }
    }

    /// Heads that have passed.
    pub(super) const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether it stands before or in a head, and not in a body; after a fault, where that was.
    pub(super) const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head(_) | State::Faulty { in_head: true, .. })
    }

    /// Reads on. `bytes` begins with the first byte that has not passed yet.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Verdict {
        let mut pass = 0;
        loop {
            match self.step(&bytes[pass..], &mut pass) {
                Ok(Some(then)) => return Verdict { pass, then },
                Ok(None) if pass == bytes.len() => return Verdict { pass, then: Then::More },
                Ok(None) => {}
                Err(fault) => {
                    self.state = State::Faulty { fault, in_head: self.is_in_head() };
                    return Verdict { pass, then: Then::Fault(fault) };
                }
            }
        }
    }

    // Adds to `pass` what of `rest` may pass, also before a fault.
    fn step(&mut self, rest: &[u8], pass: &mut usize) -> Result<Option<Then>, Fault> {
        match &mut self.state {
            State::Head(head) => {
                let (taken, framing) = head.read(rest, &self.bounds)?;
                *pass += taken;
                let Some(framing) = framing else { return Ok((taken == 0).then_some(Then::More)) };
                self.heads += 1;
                self.state = match framing {
                    Framing::Switch | Framing::Length(0) => State::Head(Head::default()),
                    Framing::Length(length) => State::Sized(length),
                    Framing::Chunked => State::Chunked(Chunks::default()),
                };
                Ok((framing == Framing::Switch).then_some(Then::Switch))
            }
            State::Sized(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *pass += taken;
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(None)
            }
            State::Chunked(chunks) => {
                let mut taken = 0;
                let end = chunks.read(rest, &self.bounds, &mut taken);
                *pass += taken;
                if !end? {
                    return Ok(Some(Then::More));
                }
                self.state = State::Head(Head::default());
                Ok(None)
            }
            State::Faulty { fault, .. } => Err(*fault),
        }
    }
}

impl Fault {
    const fn malformed(detail: &'static str) -> Self {
        Self { kind: Kind::MalformedRequest, detail }
    }
}

#[cfg(test)]
mod tests;
