//! The path of a request in its one normal form, which is what is routed and what is forwarded, so that no two parts of
//! the way can read it differently. RFC 3986 section 6.2.2, and settings for what that leaves open. Pure.

use std::borrow::Cow;

use crate::config::spec::{PathPolicy, Treatment};

/// The normal form of `path`, which starts with `/`. Nothing is allocated where nothing changes. In any case escapes
/// of unreserved characters are decoded and the digits of the others are upper-case; encoded controls have no other
/// form than that, so [`Treatment::Normalize`] keeps them.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn normalize<'a>(path: &'a str, policy: &PathPolicy) -> Result<Cow<'a, str>, &'static str> {
    if !is_suspicious(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path, policy)?;
    let resolved = resolve(&decoded, policy)?;
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

// Whether anything in it could need a change: an escape, a backslash, an empty segment, one that begins with a dot,
// and bytes that may not stand in a path at all.
fn is_suspicious(path: &[u8]) -> bool {
    let mut previous = 0;
    path.iter().any(|byte| {
        let after_slash = previous == b'/' && matches!(byte, b'/' | b'.');
        previous = *byte;
        after_slash || matches!(byte, b'%' | b'\\') || !byte.is_ascii_graphic()
    })
}

fn decode(path: &str, policy: &PathPolicy) -> Result<String, &'static str> {
    let mut decoded = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = (bytes.next().and_then(digit), bytes.next().and_then(digit));
                let (Some(high), Some(low)) = digits else { return Err("an invalid percent-encoding in the path") };
                escape(&mut decoded, high << 4 | low, policy)?;
            }
            b'\\' => slash(&mut decoded, "\\", policy)?,
            byte if byte.is_ascii_graphic() => decoded.push(char::from(byte)),
            _ => return Err("a control character, space or byte above 0x7f in the path"),
        }
    }
    Ok(decoded)
}

fn escape(decoded: &mut String, byte: u8, policy: &PathPolicy) -> Result<(), &'static str> {
    match byte {
        b'.' if policy.dot_segments == Treatment::Keep => decoded.push_str("%2E"),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
        b'/' => slash(decoded, "%2F", policy)?,
        b'\\' => slash(decoded, "%5C", policy)?,
        0..0x20 | 0x7f if policy.encoded_controls == Treatment::Reject => {
            return Err("an encoded control character in the path");
        }
        _ => {
            decoded.push('%');
            decoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            decoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    Ok(())
}

// A slash in disguise: `%2f`, `%5c` or a backslash, which many servers take for a slash.
fn slash(decoded: &mut String, as_it_is: &str, policy: &PathPolicy) -> Result<(), &'static str> {
    match policy.encoded_slashes {
        Treatment::Normalize => decoded.push('/'),
        Treatment::Reject => return Err("an encoded slash or a backslash in the path"),
        Treatment::Keep => decoded.push_str(as_it_is),
    }
    Ok(())
}

// Every segment of the result has its slash before it. Empty segments go first: `/a//../b` is `/b`.
fn resolve(decoded: &str, policy: &PathPolicy) -> Result<String, &'static str> {
    let mut resolved = String::with_capacity(decoded.len());
    let mut segments = decoded.strip_prefix('/').unwrap_or(decoded).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => match policy.dot_segments {
                Treatment::Keep => push(&mut resolved, segment),
                Treatment::Reject => return Err("a dot segment in the path"),
                Treatment::Normalize => {
                    let kept = if segment == ".." { resolved.rfind('/').unwrap_or(0) } else { resolved.len() };
                    resolved.truncate(kept);
                    if last {
                        resolved.push('/');
                    }
                }
            },
            "" if last => resolved.push('/'),
            "" => match policy.empty_segments {
                Treatment::Keep => resolved.push('/'),
                Treatment::Reject => return Err("an empty segment in the path"),
                Treatment::Normalize => {}
            },
            // Servlet containers drop `;…` from a segment, and then see a dot segment.
            _ if is_dots_with_parameters(segment) && policy.dot_segments != Treatment::Keep => {
                return Err("a dot segment with parameters in the path");
            }
            _ => push(&mut resolved, segment),
        }
    }
    Ok(resolved)
}

fn push(resolved: &mut String, segment: &str) {
    resolved.push('/');
    resolved.push_str(segment);
}

fn is_dots_with_parameters(segment: &str) -> bool {
    segment.split_once(';').is_some_and(|(name, _)| matches!(name, "." | ".."))
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests;
