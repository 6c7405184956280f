//! The frames of a stream (RFC 9114 section 7.1), as they pass by: those that the codec keeps until they are whole, which
//! are all but those of bodies, have a limit. Pure.

/// Where a stream is in its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    bytes_max: u64,
    state: State,
    // The integer at hand (RFC 9000 section 16): what was read of it, and the bytes that it lacks.
    value: u64,
    missing: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    // The type of a stream that is not a request's.
    Stream,
    Type,
    Length(u64),
    Payload(u64),
    // A stream without frames.
    Other,
}

/// A frame is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Frames {
    /// Of the stream of a request.
    pub(super) const fn of_request(bytes_max: u64) -> Self {
        Self { bytes_max, state: State::Type, value: 0, missing: 0 }
    }

    /// Of a stream that says first what it is.
    pub(super) const fn of_another(bytes_max: u64) -> Self {
        Self { bytes_max, state: State::Stream, value: 0, missing: 0 }
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// A frame that is over the limit begins in it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while let Some((first, rest)) = bytes.split_first() {
            match self.state {
                State::Other => return Ok(()),
                State::Payload(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[taken..];
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Type } else { State::Payload(left) };
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

    fn advance(&mut self, number: u64) -> Result<(), TooLong> {
        self.state = match self.state {
            State::Stream if number == CONTROL => State::Type,
            State::Stream => State::Other,
            State::Type => State::Length(number),
            State::Length(kind) if kind != DATA && number > self.bytes_max => return Err(TooLong),
            State::Length(_) if number == 0 => State::Type,
            State::Length(_) => State::Payload(number),
            state => state,
        };
        Ok(())
    }
}

const DATA: u64 = 0;
const CONTROL: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    // HEADERS of 3 bytes, DATA of 5, an empty HEADERS, DATA of 16,383 and its beginning.
    const STREAM: &[u8] = &[1, 3, 9, 9, 9, 0, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0x7f, 0xff, 7];

    #[test]
    fn frames_within_the_limit_pass_however_they_are_cut() {
        for cut in 0..=STREAM.len() {
            let mut frames = Frames::of_request(3);
            let (first, rest) = STREAM.split_at(cut);
            assert_eq!((frames.feed(first), frames.feed(rest)), (Ok(()), Ok(())), "{cut}");
            assert_eq!(frames.state, State::Payload(16_382));
        }
    }

    #[test]
    fn a_frame_that_is_no_body_has_a_limit() {
        assert_eq!(Frames::of_request(2).feed(STREAM), Err(TooLong));
        let long = [1, 0xc0, 0, 0, 0, 0x40, 0, 0, 0];
        for cut in 0..=long.len() {
            let mut frames = Frames::of_request(1 << 20);
            let (first, rest) = long.split_at(cut);
            assert!(frames.feed(first).is_err() || frames.feed(rest).is_err(), "{cut}");
        }
        // One of a kind that nobody knows, which the codec would keep as well before it throws it away.
        assert_eq!(Frames::of_request(100).feed(&[0x21, 0x40, 101]), Err(TooLong));
    }

    #[test]
    fn the_control_stream_has_frames_and_the_others_have_none() {
        assert_eq!(Frames::of_another(3).feed(&[0, 4, 3, 1, 2, 3]), Ok(()));
        assert_eq!(Frames::of_another(2).feed(&[0, 4, 3, 1, 2, 3]), Err(TooLong));
        assert_eq!(Frames::of_another(2).feed(&[2, 4, 0x7f, 0xff]), Ok(()));
    }
}
