//! Lines and the characters that may stand in them (RFC 9112 section 2.2, RFC 9110 sections 5.1, 5.5 and 5.6.2,
//! RFC 3986 section 3). Pure tables and scans.

use super::Fault;

/// Finds lines in a buffer that grows at its end, without looking at a byte twice.
#[derive(Debug, Default)]
pub(super) struct Lines {
    // Where the current line begins, and up to where there is no line feed in it.
    start: usize,
    searched: usize,
}

impl Lines {
    /// The next whole line, with its carriage return and without its line feed, and where the one after it begins.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) else {
            self.searched = bytes.len();
            return None;
        };
        let (start, end) = (self.start, self.searched + found);
        (self.start, self.searched) = (end + 1, end + 1);
        Some((&bytes[start..end], end + 1))
    }
}

/// A line of [`Lines::next`] without its carriage return.
///
/// # Errors
/// When it has none.
pub(super) fn whole(line: &[u8]) -> Result<&[u8], Fault> {
    match line.split_last() {
        Some((b'\r', line)) => Ok(line),
        _ => Err(Fault::malformed("a line that ends in a bare line feed")),
    }
}

/// A field line, as name and value.
///
/// # Errors
/// When it is folded, its name is no token, something stands before its colon, or its value holds a control.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let Some(colon) = line.iter().position(|byte| !TOKEN[usize::from(*byte)]) else {
        return Err(Fault::malformed("a field line without a colon"));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if line[colon] != b':' || name.is_empty() {
        return Err(match line[colon] {
            b' ' | b'\t' if colon == 0 => Fault::malformed("a folded field line"),
            b' ' | b'\t' => Fault::malformed("white space in or after a field name"),
            _ => Fault::malformed("an invalid field name"),
        });
    }
    // Without an early end, so that it is done sixteen bytes at a time.
    if value.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f)) {
        return Err(Fault::malformed("a control character in a field value"));
    }
    Ok((name, value.trim_ascii()))
}

/// Whether all of it may stand in a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Whether it may be path and query of a target: no fragment, no space, no control, nothing above 0x7f.
pub(super) fn is_path_and_query(bytes: &[u8]) -> bool {
    let end = memchr::memchr(b'?', bytes).unwrap_or(bytes.len());
    let (path, query) = bytes.split_at(end);
    path.iter().all(|byte| PATH[usize::from(*byte)]) && query.iter().all(|byte| QUERY[usize::from(*byte)])
}

/// Whether a list of tokens has this one, in any case.
pub(super) fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|byte| *byte == b',').any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

const TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
// What the `http` crate takes in a path and in a query, less what is not ASCII. It is a little more than RFC 3986 has.
const PATH: [bool; 256] = letters_digits_and(b"!\"$%&'()*+,-./:;=@[\\]^_{|}~");
const QUERY: [bool; 256] = letters_digits_and(b"!$%&'()*+,-./:;=?@[\\]^_`{|}~");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}
