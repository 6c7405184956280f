//! Where a value of the Redis protocol (RESP2 and RESP3) ends. What it says is the guest's to read.

/// Values that one may be made of: more are no answer to anything a plugin asks.
const VALUES_MAX: u64 = 1 << 20;

/// What no server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The length of the value that `bytes` begin with; `None` where more of it is to come.
///
/// # Errors
/// Where it is none.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let (mut at, mut left, mut seen) = (0, 1_u64, 0);
    while left > 0 {
        let rest = &bytes[at..];
        let Some(&kind) = rest.first() else { return Ok(None) };
        let Some(end) = memchr::memchr(b'\n', rest) else { return Ok(None) };
        let line = rest[1..end].strip_suffix(b"\r").ok_or(Malformed)?;
        at += end + 1;
        left -= 1;
        match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'$' | b'=' | b'!' => {
                if let Some(size) = count(line)? {
                    let size = usize::try_from(size).map_err(|_| Malformed)?;
                    let Some(end) = bytes.get(at..).and_then(|rest| rest.get(size..size.checked_add(2)?)) else {
                        return Ok(None);
                    };
                    if end != b"\r\n" {
                        return Err(Malformed);
                    }
                    at += size + 2;
                }
            }
            b'*' | b'~' | b'>' => left += count(line)?.unwrap_or(0),
            b'%' => left += count(line)?.unwrap_or(0).saturating_mul(2),
            // What it is an attribute of follows.
            b'|' => left += count(line)?.unwrap_or(0).saturating_mul(2) + 1,
            _ => return Err(Malformed),
        }
        seen += 1;
        if seen + left > VALUES_MAX {
            return Err(Malformed);
        }
    }
    Ok(Some(at))
}

// None of what is not there: -1.
fn count(line: &[u8]) -> Result<Option<u64>, Malformed> {
    if line == b"-1" {
        return Ok(None);
    }
    let digits = line.iter().all(u8::is_ascii_digit) && line.len() <= 10;
    let text = std::str::from_utf8(line).ok().filter(|_| digits).ok_or(Malformed)?;
    text.parse().map(Some).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_the_protocol_says() {
        let whole: [&[u8]; 12] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":1\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$4\r\na\r\nb\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:2\r\n",
            b"%1\r\n+a\r\n_\r\n",
            b"|1\r\n+ttl\r\n:3\r\n+OK\r\n",
            b"*1\r\n#t\r\n",
        ];
        for value in whole {
            assert_eq!(length(value), Ok(Some(value.len())), "{}", value.escape_ascii());
            assert_eq!(length(&[value, b"+more\r\n"].concat()), Ok(Some(value.len())));
            for end in 0..value.len() {
                assert_eq!(length(&value[..end]), Ok(None), "{}", value[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let wrong: [&[u8]; 8] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"$1\r\nabc",
            b"$x\r\n",
            b"$-2\r\n",
            b"*99999999999\r\n",
            b"*2000000\r\n",
            b"+OK\n",
            b"%9999999999\r\n",
        ];
        for value in wrong {
            assert_eq!(length(value), Err(Malformed), "{}", value.escape_ascii());
        }
    }
}
