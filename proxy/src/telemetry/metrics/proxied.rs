//! What became of the PROXY headers of a listener. Knows no header.

/// What a connection began with, where a PROXY header was asked for or allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyOutcome {
    /// A line with addresses.
    Version1,
    /// A binary header with addresses.
    Version2,
    /// A header without addresses: the proxy's own connection, or of whom it does not know.
    Unaddressed,
    /// No header.
    Absent,
    /// A header, or a connection where one is required, from a network that is not trusted.
    Untrusted,
    /// A header that is not well-formed.
    Malformed,
    /// A header over its limit.
    TooLong,
    /// A header that was not whole in time.
    Timeout,
}

impl ProxyOutcome {
    /// All of them, each at the position that `outcome as usize` gives.
    pub const ALL: [Self; 8] = [
        Self::Version1,
        Self::Version2,
        Self::Unaddressed,
        Self::Absent,
        Self::Untrusted,
        Self::Malformed,
        Self::TooLong,
        Self::Timeout,
    ];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version1 => "version_1",
            Self::Version2 => "version_2",
            Self::Unaddressed => "unaddressed",
            Self::Absent => "absent",
            Self::Untrusted => "untrusted",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Timeout => "timeout",
        }
    }
}
