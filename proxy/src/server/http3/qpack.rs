//! QPACK's own streams of a client (RFC 9204 section 4.2), which the codec does not read. No dynamic table is offered and
//! none is used, so there is little that they may say. Pure.

use h3::error::Code;

/// Which of both it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Fills the table of the gateway's decoder.
    Encoder,
    /// Says what the client has read of the gateway's encoder.
    Decoder,
}

/// The instructions of one of them, as they come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instructions {
    role: Role,
    // Whether an integer goes on.
    in_integer: bool,
}

impl Instructions {
    /// Of a stream that begins.
    pub(super) const fn new(role: Role) -> Self {
        Self { role, in_integer: false }
    }

    /// Which stream's they are.
    pub(super) const fn role(&self) -> Role {
        self.role
    }

    /// Looks at what comes next.
    ///
    /// # Errors
    /// What the connection ends with.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Code> {
        bytes.iter().try_for_each(|byte| match self.role {
            // A capacity of 0: the table has no room for anything else.
            Role::Encoder if *byte == 0x20 => Ok(()),
            Role::Encoder => Err(Code::QPACK_ENCODER_STREAM_ERROR),
            Role::Decoder => self.cancellation(*byte).ok_or(Code::QPACK_DECODER_STREAM_ERROR),
        })
    }

    // A stream that is not read: there is nothing to acknowledge.
    fn cancellation(&mut self, byte: u8) -> Option<()> {
        if !self.in_integer && !matches!(byte, 0x40..0x80) {
            return None;
        }
        self.in_integer = if self.in_integer { byte & 0x80 != 0 } else { byte & 0x3f == 0x3f };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_may_take_no_room_and_a_decoder_may_cancel() {
        let feed = |role, bytes: &[u8]| Instructions::new(role).feed(bytes);
        assert_eq!(feed(Role::Encoder, b"\x20\x20"), Ok(()));
        for bytes in [&b"\x21"[..], b"\x3f\xe1\x1f", b"\x20\xc0\x01a", b"\x41a\x01b", b"\x00"] {
            assert_eq!(feed(Role::Encoder, bytes), Err(Code::QPACK_ENCODER_STREAM_ERROR), "{bytes:x?}");
        }
        assert_eq!(feed(Role::Decoder, b"\x40\x7f\x81\x80\x00\x44"), Ok(()));
        for bytes in [&b"\x00"[..], b"\x01", b"\x80", b"\x44\x84"] {
            assert_eq!(feed(Role::Decoder, bytes), Err(Code::QPACK_DECODER_STREAM_ERROR), "{bytes:x?}");
        }
    }
}
