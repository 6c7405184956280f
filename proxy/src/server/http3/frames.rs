//! The frames of a stream (RFC 9114 section 7.1), as they pass by: those that the codec keeps until they are whole, which
//! are all but those of bodies, have a limit; so has the number of those that say nothing; sections of fields are looked
//! at. Pure.

use std::{cell::Cell, rc::Rc};

use h3::error::Code;

use super::section::{Malformed, Section};

/// Where a stream is in its frames.
#[derive(Debug)]
pub(super) struct Frames {
    bytes_max: u64,
    state: State,
    // The integer at hand (RFC 9000 section 16): what was read of it, and the bytes that it lacks.
    value: u64,
    missing: u8,
    empty: Empty,
    // The section of fields that was there last.
    section: Option<Section>,
}

/// How many frames of a body without a byte have passed.
pub(super) type Empty = Rc<Cell<u32>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    // The type of a stream that is not a request's.
    Stream,
    Type,
    Length(u64),
    Payload(u64, Payload),
    // A stream without frames.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Body,
    Fields,
    Other,
}

/// Why a stream may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A frame is longer than it may be, or too many are empty.
    TooMuch,
    /// A section of fields is malformed (RFC 9114 section 4.1.2).
    Malformed,
}

impl Fault {
    /// What the client is told.
    pub(super) const fn code(self) -> Code {
        match self {
            Self::TooMuch => Code::H3_EXCESSIVE_LOAD,
            Self::Malformed => Code::H3_MESSAGE_ERROR,
        }
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Frames {
    /// Of the stream of a request.
    pub(super) fn of_request(bytes_max: u64) -> Self {
        Self { bytes_max, state: State::Type, value: 0, missing: 0, empty: Empty::default(), section: None }
    }

    /// Of a stream that says first what it is.
    pub(super) fn of_another(bytes_max: u64) -> Self {
        Self { state: State::Stream, ..Self::of_request(bytes_max) }
    }

    /// Where empty frames are counted.
    pub(super) fn empty(&self) -> Empty {
        Rc::clone(&self.empty)
    }

    /// Whether a piece of a body is not whole.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.state, State::Payload(_, Payload::Body))
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// Why the stream may not go on.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Other => return Ok(()),
                State::Payload(left, payload) => {
                    let (taken, behind) = bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
                    if let (Payload::Fields, Some(section)) = (payload, &mut self.section) {
                        section.feed(taken)?;
                    }
                    bytes = behind;
                    let left = left - taken.len() as u64;
                    self.state = if left == 0 { State::Type } else { State::Payload(left, payload) };
                }
                _ => {
                    bytes = rest;
                    if let Some(number) = self.integer(*first) {
                        self.advance(number)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn integer(&mut self, byte: u8) -> Option<u64> {
        if self.missing == 0 {
            self.missing = (1 << (byte >> 6)) - 1;
            self.value = u64::from(byte & 0x3f);
        } else {
            self.missing -= 1;
            self.value = self.value << 8 | u64::from(byte);
        }
        (self.missing == 0).then_some(self.value)
    }

    fn advance(&mut self, number: u64) -> Result<(), Fault> {
        self.state = match self.state {
            State::Stream if number == CONTROL => State::Type,
            State::Stream => State::Other,
            State::Type => State::Length(number),
            State::Length(kind) if kind != DATA && number > self.bytes_max => return Err(Fault::TooMuch),
            State::Length(DATA) if number == 0 => {
                self.empty.set(self.empty.get() + 1);
                if self.empty.get() > EMPTY_MAX {
                    return Err(Fault::TooMuch);
                }
                State::Type
            }
            State::Length(_) if number == 0 => State::Type,
            State::Length(DATA) => State::Payload(number, Payload::Body),
            State::Length(HEADERS) => {
                self.section = Some(Section::new(self.section.is_some()));
                State::Payload(number, Payload::Fields)
            }
            State::Length(_) => State::Payload(number, Payload::Other),
            state => state,
        };
        Ok(())
    }
}

const DATA: u64 = 0;
const HEADERS: u64 = 1;
// A client that has nothing to say need not say it often.
const EMPTY_MAX: u32 = 1000;
const CONTROL: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    // HEADERS of 3 bytes, DATA of 5, an empty HEADERS, DATA of 16,383 and its beginning.
    const STREAM: &[u8] = &[1, 3, 0, 0, 0xd1, 0, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0x7f, 0xff, 7];

    #[test]
    fn frames_within_the_limit_pass_however_they_are_cut() {
        for cut in 0..=STREAM.len() {
            let mut frames = Frames::of_request(3);
            let (first, rest) = STREAM.split_at(cut);
            assert_eq!((frames.feed(first), frames.feed(rest)), (Ok(()), Ok(())), "{cut}");
            assert_eq!(frames.state, State::Payload(16_382, Payload::Body));
        }
    }

    #[test]
    fn a_frame_that_is_no_body_has_a_limit() {
        assert_eq!(Frames::of_request(2).feed(STREAM), Err(Fault::TooMuch));
        let long = [1, 0xc0, 0, 0, 0, 0x40, 0, 0, 0];
        for cut in 0..=long.len() {
            let mut frames = Frames::of_request(1 << 20);
            let (first, rest) = long.split_at(cut);
            assert!(frames.feed(first).is_err() || frames.feed(rest).is_err(), "{cut}");
        }
        // One of a kind that nobody knows, which the codec would keep as well before it throws it away.
        assert_eq!(Frames::of_request(100).feed(&[0x21, 0x40, 101]), Err(Fault::TooMuch));
    }

    #[test]
    fn frames_without_a_byte_are_counted_and_have_a_limit() {
        let mut frames = Frames::of_request(100);
        assert_eq!(frames.feed(&[0, 0].repeat(1000)), Ok(()));
        assert_eq!(frames.empty().get(), 1000);
        assert_eq!(frames.feed(&[0, 0x40, 0]), Err(Fault::TooMuch));
    }

    #[test]
    fn the_second_section_of_fields_is_that_of_trailers() {
        let request = [1, 3, 0, 0, 0xd1, 0, 1, 7];
        for cut in 0..=request.len() {
            let mut frames = Frames::of_request(100);
            let (first, rest) = request.split_at(cut);
            assert_eq!((frames.feed(first), frames.feed(rest)), (Ok(()), Ok(())));
            assert_eq!(frames.feed(&[1, 3, 0, 0, 0xd1]), Err(Fault::Malformed));
        }
    }

    #[test]
    fn the_control_stream_has_frames_and_the_others_have_none() {
        assert_eq!(Frames::of_another(3).feed(&[0, 4, 3, 1, 2, 3]), Ok(()));
        assert_eq!(Frames::of_another(2).feed(&[0, 4, 3, 1, 2, 3]), Err(Fault::TooMuch));
        assert_eq!(Frames::of_another(2).feed(&[2, 4, 0x7f, 0xff]), Ok(()));
    }
}
