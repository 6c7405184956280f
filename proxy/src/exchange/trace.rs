//! W3C Trace Context: `traceparent` read, checked, made where there is none, and passed on with a span of ours as the
//! parent; `tracestate` checked. Pure but for the ids, which need to be unlikely to repeat and not secret.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::hex;

/// The ids under which an exchange is logged, traced and passed on (W3C Trace Context, version 00).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Of the whole trace; the client's where it sent one.
    pub trace_id: u128,
    /// The client's span, where it sent one.
    pub parent_id: Option<u64>,
    /// Ours; goes out as the parent of the upstream's span, unless the call to it has a span of its own.
    pub span_id: u64,
    /// The `sampled` flag: the client's, or what our sampler decided.
    pub sampled: bool,
    /// The `random` flag: whether the last seven bytes of the trace id are random.
    pub random: bool,
}

/// `traceparent`.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A worker's source of ids.
#[derive(Debug)]
pub struct Ids(Cell<u64>);

impl Default for Ids {
    fn default() -> Self {
        // The standard library's hasher is seeded from the system's randomness.
        Self(Cell::new(RandomState::new().hash_one(std::process::id())))
    }
}

impl Ids {
    /// The next id; never 0, which trace context reserves. SplitMix64 (Steele, Lea and Flood 2014).
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1)
    }

    /// The context of a new exchange: the client's trace with a span of ours, or a trace of ours. A client that names
    /// two parents names none.
    pub fn continue_from(&self, headers: &HeaderMap) -> TraceContext {
        let mut named = headers.get_all(&TRACEPARENT).iter();
        let parent = named.next().filter(|_| named.next().is_none()).and_then(|value| parse(value.as_bytes()));
        let span_id = self.next();
        match parent {
            Some((trace_id, parent, flags)) => TraceContext {
                trace_id,
                parent_id: Some(parent),
                span_id,
                sampled: flags & SAMPLED != 0,
                random: flags & RANDOM != 0,
            },
            None => {
                let trace_id = (u128::from(self.next()) << 64) | u128::from(self.next());
                TraceContext { trace_id, parent_id: None, span_id, sampled: false, random: true }
            }
        }
    }
}

impl TraceContext {
    /// The flags of version 00 that are known (section 3.2.2.5); the others are not passed on.
    pub const fn flags(&self) -> u8 {
        ((self.sampled as u8) * SAMPLED) | ((self.random as u8) * RANDOM)
    }

    /// The trace id as it is written, 32 digits.
    pub fn id_text(&self) -> String {
        let mut digits = [0; 32];
        hex(&mut digits, &self.trace_id.to_be_bytes());
        str::from_utf8(&digits).expect("hexadecimal digits").to_owned()
    }

    /// The `traceparent` of a request that goes out with `span_id` as its parent.
    pub fn traceparent(&self, span_id: u64) -> HeaderValue {
        let text = self.traceparent_text(span_id);
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).expect("hexadecimal digits and dashes")
    }

    /// The same as text.
    pub fn traceparent_text(&self, span_id: u64) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        hex(&mut text[36..52], &span_id.to_be_bytes());
        text[54] += self.flags();
        text
    }
}

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Whether every `tracestate` is a list of members, 32 at most in all, each a key and a value (section 3.3). One that
/// is not goes no further, and the trace goes on without it.
pub fn is_state(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(&TRACESTATE).iter().map(HeaderValue::as_bytes);
    let mut members = fields.flat_map(|field| field.split(|byte| *byte == b',')).map(trimmed);
    let mut count = 0;
    members.all(|member| {
        count += usize::from(!member.is_empty());
        count <= MEMBERS_MAX && (member.is_empty() || is_member(member))
    })
}

const MEMBERS_MAX: usize = 32;

fn trimmed(member: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let from = member.iter().position(|byte| !blank(byte)).unwrap_or(member.len());
    let to = member.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    &member[from..to]
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let key_fits = match key.iter().position(|byte| *byte == b'@') {
        None => is_key(key, 256, u8::is_ascii_lowercase),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            is_key(tenant, 241, begins) && is_key(system, 14, u8::is_ascii_lowercase)
        }
    };
    let printable = |byte: &u8| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    key_fits && (1..=256).contains(&value.len()) && value.iter().all(printable)
}

fn is_key(key: &[u8], bytes_max: usize, begins: impl Fn(&u8) -> bool) -> bool {
    let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    key.len() <= bytes_max && key.first().is_some_and(begins) && key.iter().all(fits)
}

// `version-traceid-parentid-flags`; a later version may append fields after another dash (section 3.2.2.3).
fn parse(value: &[u8]) -> Option<(u128, u64, u8)> {
    let (known, rest) = value.split_at_checked(55)?;
    let version = number(&known[0..2])?;
    let dashes = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
    let whole = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
    if !dashes || version == 0xff || !whole {
        return None;
    }
    let (trace, parent, flags) = (number(&known[3..35])?, number(&known[36..52])?, number(&known[53..55])?);
    (trace != 0 && parent != 0).then_some((trace, parent as u64, flags as u8))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |text: &&str| (name.clone(), HeaderValue::from_str(text).unwrap());
        values.iter().map(value).collect()
    }

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
            let trace = ids.continue_from(&headers(&TRACEPARENT, &[text]));
            assert_eq!(trace.parent_id.is_some(), valid, "{text}");
            assert_eq!(trace.trace_id == 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, valid, "{text}");
            assert_eq!(trace.sampled, valid && text.ends_with("01"));
            let twice = ids.continue_from(&headers(&TRACEPARENT, &[text, text]));
            assert_eq!(twice.parent_id, None, "two parents are none");
        }
    }

    #[test]
    fn what_goes_out_names_the_span_and_reads_back() {
        let ids = Ids::default();
        for (sampled, random, flags) in [(false, false, 0), (true, false, 1), (false, true, 2), (true, true, 3)] {
            let trace = TraceContext { sampled, random, ..ids.continue_from(&HeaderMap::new()) };
            assert_eq!(trace.id_text(), format!("{:032x}", trace.trace_id));
            let text = trace.traceparent(7);
            assert_eq!(parse(text.as_bytes()), Some((trace.trace_id, 7, flags)));
        }
    }

    #[test]
    fn a_state_is_a_list_of_keys_and_values() {
        let long = |length: usize| format!("{}=1", "a".repeat(length));
        let members = |count: usize| (0..count).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        let cases: [(&[&str], bool); 20] = [
            (&["a=1"], true),
            (&["a=1,b=2", "c=3"], true),
            (&["", " , a=1\t, "], true),
            (&["0tenant@system=x"], true),
            (&["a-*/_9= value "], true),
            (&[&long(256)], true),
            (&[&long(257)], false),
            (&[&members(32)], true),
            (&[&members(33)], false),
            (&[&members(32), "one=more"], false),
            (&["a"], false),
            (&["a="], false),
            (&["=1"], false),
            (&["A=1"], false),
            (&["0a=1"], false),
            (&["a =1"], false),
            (&["a.b=1"], false),
            (&["a@=1"], false),
            (&["a@b@c=1"], false),
            (&["a=b=c"], false),
        ];
        for (values, expected) in cases {
            assert_eq!(is_state(&headers(&TRACESTATE, values)), expected, "{values:?}");
        }
    }
}
