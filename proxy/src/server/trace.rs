//! W3C Trace Context: `traceparent` read, checked, made where there is none, and passed on with our span as the
//! parent. Pure but for the ids, which need to be unlikely to repeat and not secret.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;
use http::HeaderValue;

use crate::exchange::TraceContext;

/// A worker's source of ids.
#[derive(Debug)]
pub(super) struct Ids(Cell<u64>);

impl Default for Ids {
    fn default() -> Self {
        // The standard library's hasher is seeded from the system's randomness.
        Self(Cell::new(RandomState::new().hash_one(std::process::id())))
    }
}

impl Ids {
    // SplitMix64; never 0, which trace context reserves.
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1)
    }

    /// The context of a new exchange: the client's trace with a span of ours, or a trace of ours.
    pub(super) fn continue_from(&self, traceparent: Option<&HeaderValue>) -> TraceContext {
        let span_id = self.next();
        match traceparent.and_then(|value| parse(value.as_bytes())) {
            Some((trace_id, parent, sampled)) => TraceContext { trace_id, parent_id: Some(parent), span_id, sampled },
            None => {
                let trace_id = (u128::from(self.next()) << 64) | u128::from(self.next());
                TraceContext { trace_id, parent_id: None, span_id, sampled: false }
            }
        }
    }
}

/// The `traceparent` that goes out.
pub(super) fn traceparent(trace: &TraceContext) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex(&mut text[3..35], trace.trace_id);
    hex(&mut text[36..52], u128::from(trace.span_id));
    text[54] += u8::from(trace.sampled);
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).expect("hexadecimal digits and dashes")
}

// `version-traceid-parentid-flags`; a later version may append fields after another dash (section 3.2.2.3).
fn parse(value: &[u8]) -> Option<(u128, u64, bool)> {
    let (known, rest) = value.split_at_checked(55)?;
    let version = number(&known[0..2])?;
    let dashes = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
    let whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
    if !dashes || version == 0xff || !whole {
        return None;
    }
    let (trace, parent, flags) = (number(&known[3..35])?, number(&known[36..52])?, number(&known[53..55])?);
    (trace != 0 && parent != 0).then_some((trace, parent as u64, flags & 1 == 1))
}

// Lower-case hexadecimal only, as the specification asks.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

fn hex(digits: &mut [u8], mut number: u128) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_parent_is_continued_and_anything_else_begins_a_trace() {
        let ids = Ids::default();
        let cases = [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-later", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-later", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("", false),
        ];
        for (text, valid) in cases {
            let trace = ids.continue_from(Some(&HeaderValue::from_static(text)));
            assert_eq!(trace.parent_id.is_some(), valid, "{text}");
            assert_eq!(trace.trace_id == 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, valid, "{text}");
            assert_eq!(trace.sampled, valid && text.ends_with("01"));
        }
    }

    #[test]
    fn what_goes_out_names_our_span_and_reads_back() {
        let trace = Ids::default().continue_from(None);
        let text = traceparent(&TraceContext { sampled: true, ..trace });
        assert_eq!(parse(text.as_bytes()), Some((trace.trace_id, trace.span_id, true)));
    }
}
