//! Parts of what is kept (RFC 9110 section 14, RFC 9111 section 3.4): one range of bytes of a whole 200. Several at once are
//! answered with the whole, as any server may. Pure.

use std::{ops::Range, time::Duration};

use http::{HeaderMap, header};

/// What of a body a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Bytes(Range<usize>),
    /// Nothing that there is.
    Nowhere,
}

/// What `asked` wants of a body of `length` bytes whose head is `own`.
pub(super) fn part(asked: &HeaderMap, own: &HeaderMap, length: usize) -> Part {
    let mut ranges = asked.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Part::Whole };
    let range = range.to_str().ok().and_then(|text| bytes(text, length));
    range.filter(|_| holds(asked, own)).unwrap_or(Part::Whole)
}

// RFC 9110 section 14.1.2. None for what is to be passed over: another unit, several ranges, and what is no range.
fn bytes(text: &str, length: usize) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.trim().split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
    // Larger than any body is as good as its end.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let range = match (first.is_empty(), last.is_empty()) {
        (true, _) => length.saturating_sub(number(last)?)..length,
        (false, true) => number(first)?..length,
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.start < range.end { Part::Bytes(range) } else { Part::Nowhere })
}

// Whether the client has other parts of the same (RFC 9110 section 13.1.5): by a strong validator, to the letter.
fn holds(asked: &HeaderMap, own: &HeaderMap) -> bool {
    let Some(condition) = asked.get(header::IF_RANGE) else { return true };
    if condition.as_bytes().starts_with(b"\"") {
        return own.get(header::ETAG) == Some(condition);
    }
    let date = |name| httpdate::parse_http_date(own.get(name)?.to_str().ok()?).ok();
    // A date is strong where the response is from a later second (section 8.8.2.2).
    let strong = date(header::LAST_MODIFIED)
        .zip(date(header::DATE))
        .is_some_and(|(changed, sent)| sent.duration_since(changed).is_ok_and(|since| since >= Duration::from_secs(1)));
    strong && own.get(header::LAST_MODIFIED) == Some(condition)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_is_the_whole_or_nowhere() {
        let cases = [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-5", Part::Bytes(2..6)),
            ("Bytes=2-", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=5-99999999999999999999999", Part::Bytes(5..10)),
            ("bytes=10-", Part::Nowhere),
            ("bytes=10-12", Part::Nowhere),
            ("bytes=99999999999999999999999-", Part::Nowhere),
            ("bytes=-0", Part::Nowhere),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("bytes", Part::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(part(&fields(&[("range", range)]), &HeaderMap::new(), 10), expected, "{range}");
        }
        assert_eq!(part(&fields(&[("range", "bytes=0-")]), &HeaderMap::new(), 0), Part::Nowhere);
        let twice = fields(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]);
        assert_eq!(part(&twice, &HeaderMap::new(), 10), Part::Whole);
    }

    #[test]
    fn a_part_is_sent_only_of_what_the_client_has_parts_of() {
        let (then, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        let cases = [
            ("\"1\"", &[("etag", "\"1\"")][..], true),
            ("\"1\"", &[("etag", "\"2\"")], false),
            ("\"1\"", &[("etag", "W/\"1\"")], false),
            ("W/\"1\"", &[("etag", "W/\"1\"")], false),
            ("\"1\"", &[], false),
            (then, &[("last-modified", then), ("date", later)], true),
            (then, &[("last-modified", then), ("date", then)], false),
            (later, &[("last-modified", then), ("date", later)], false),
            ("yesterday", &[("last-modified", "yesterday"), ("date", later)], false),
        ];
        for (condition, own, part_of) in cases {
            let asked = fields(&[("range", "bytes=0-1"), ("if-range", condition)]);
            assert_eq!(part(&asked, &fields(own), 10) == Part::Bytes(0..2), part_of, "{condition} {own:?}");
        }
    }
}
