//! Lists of pairs, as the ABI writes them: a count, the lengths of all names and values, then each name and value with a
//! zero byte after it. All numbers are 32 bits, little-endian.

use super::status::{Done, Status};

/// Pairs of one list. More are refused.
const PAIRS_MAX: usize = 1024;

/// Writes a list.
pub(super) fn write<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(pairs));
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(number(pairs.len()));
    for (name, value) in pairs {
        out.extend(number(name.as_ref().len()));
        out.extend(number(value.as_ref().len()));
    }
    for (name, value) in pairs {
        for text in [name.as_ref(), value.as_ref()] {
            out.extend_from_slice(text);
            out.push(0);
        }
    }
    out
}

/// The bytes that [`write`] writes.
pub(super) fn size<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> usize {
    4 + pairs.iter().map(|(name, value)| 10 + name.as_ref().len() + value.as_ref().len()).sum::<usize>()
}

/// Reads a list.
///
/// # Errors
/// [`Status::ParseFailure`] where it is cut short, or longer than its numbers say it can be.
pub(super) fn read(bytes: &[u8]) -> Done<Vec<(&[u8], &[u8])>> {
    // An empty list may be written as nothing, or as one zero byte.
    if bytes.is_empty() || bytes == [0] {
        return Ok(Vec::new());
    }
    let count = number(bytes, 0)?;
    if count > PAIRS_MAX {
        return Err(Status::ParseFailure);
    }
    let mut at = 4 + 8 * count;
    let mut text = |length: usize| {
        let found = bytes.get(at..at.checked_add(length)?)?;
        at += length;
        // Some writers leave the last zero byte out.
        if !matches!(bytes.get(at), None | Some(0)) {
            return None;
        }
        at += 1;
        Some(found)
    };
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let (name, value) = (number(bytes, 4 + 8 * index)?, number(bytes, 8 + 8 * index)?);
        let pair = text(name).and_then(|name| Some((name, text(value)?)));
        pairs.push(pair.ok_or(Status::ParseFailure)?);
    }
    Ok(pairs)
}

fn number(bytes: &[u8], at: usize) -> Done<usize> {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map(|four| u32::from_le_bytes(four) as usize).ok_or(Status::ParseFailure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let pairs = [("a", "1"), ("b", "22"), ("", "")];
        let bytes = write(&pairs);
        assert_eq!(bytes.len(), size(&pairs));
        assert_eq!(&bytes[..12], [3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        let read = read(&bytes).unwrap();
        assert_eq!(read, pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_lengths_is_refused() {
        let bytes = write(&[("name", "value")]);
        // Without its last byte it is still whole.
        assert!(read(&bytes[..bytes.len() - 1]).is_ok());
        for length in 2..bytes.len() - 1 {
            assert_eq!(read(&bytes[..length]), Err(Status::ParseFailure), "{length}");
        }
        for lie in [[0xff; 4], [0, 0, 0, 0x80], [7, 0, 0, 0]] {
            for at in [0, 4, 8] {
                let mut bytes = bytes.clone();
                bytes[at..at + 4].copy_from_slice(&lie);
                assert_eq!(read(&bytes), Err(Status::ParseFailure), "{at} {lie:?}");
            }
        }
        assert_eq!((read(&[]), read(&[0])), (Ok(vec![]), Ok(vec![])));
    }
}
