//! What an error of a stream means for the request that was on it: whether the endpoint did anything with it, and
//! whose fault it is. Knows no connection.

use std::io;

use h2::Reason;

use crate::{
    error::Error,
    upstream::attempt::{Cause, Progress},
};

/// Why there is no response on a stream.
#[derive(Debug)]
pub(super) enum Failure {
    /// The stream, or its connection, ended.
    Ended(h2::Error),
    /// The connection takes no more.
    Gone,
    /// What came is no response.
    Malformed(&'static str),
    /// The request's own body failed.
    Request(Error),
    /// There was no answer in time.
    Timeout,
}

/// How far a request got whose stream ended with `error`: RFC 9113 sections 6.8 (streams above the last one of a
/// GOAWAY) and 8.7 (REFUSED_STREAM) say which were not processed.
pub(super) fn progress(error: &h2::Error) -> Progress {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (refused || error.is_go_away()) { Progress::Unprocessed } else { Progress::Sent }
}

impl Failure {
    /// What went wrong, where the connection had `served` others before.
    pub(super) fn cause(&self, served: bool) -> Cause {
        match self {
            Self::Request(_) => Cause::Request,
            Self::Timeout => Cause::Timeout,
            Self::Malformed(_) => Cause::Malformed,
            Self::Ended(error) if progress(error) == Progress::Unprocessed => Cause::Refused,
            Self::Ended(error) if is_malformed(error) => Cause::Malformed,
            Self::Ended(error) if error.is_io() && served => Cause::Stale,
            Self::Gone => Cause::Stale,
            Self::Ended(_) => Cause::Reset,
        }
    }

    /// How far the request got.
    pub(super) fn progress(&self) -> Progress {
        if let Self::Ended(error) = self { progress(error) } else { Progress::Sent }
    }
}

/// Whether it is our side that ended the stream, because what came was not HTTP/2.
pub(super) fn is_malformed(error: &h2::Error) -> bool {
    error.is_library()
}

/// What came, where it was not HTTP/2, in words.
pub(super) fn what(error: &h2::Error) -> &'static str {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => "its head is longer than response-head-bytes-max",
        Some(Reason::FLOW_CONTROL_ERROR) => "it sent more than flow control allows",
        Some(Reason::COMPRESSION_ERROR) => "its header compression is broken",
        Some(Reason::FRAME_SIZE_ERROR) => "a frame has a wrong size",
        Some(Reason::ENHANCE_YOUR_CALM) => "it sent too many frames that carry next to nothing",
        _ => "it broke the rules of HTTP/2",
    }
}

/// The error of the connection below, where that is what it is.
pub(super) fn io(error: h2::Error) -> io::Error {
    match error.is_io().then(|| error.get_io().map(io::Error::kind)).flatten() {
        Some(kind) => io::Error::new(kind, error),
        None => io::Error::other(error),
    }
}
