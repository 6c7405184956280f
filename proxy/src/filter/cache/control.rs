//! `Cache-Control` of requests and responses (RFC 9111 section 5.2, RFC 5861), read as far as a shared cache goes by it.

use std::time::Duration;

use http::{HeaderMap, header};

/// What is said. Of a directive that stands there twice, the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    /// Or `proxy-revalidate`: what is stale is never served without asking.
    pub(super) must_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    /// [`FOREVER`] where no time is given.
    pub(super) max_stale: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
}

/// RFC 9111 section 1.2.2: what does not fit is this.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 31);

impl Control {
    /// Of a message. `private` and `no-cache` that name fields hold for all of it, which is stricter.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        values.filter_map(|value| value.to_str().ok()).flat_map(elements).for_each(|element| control.read(element));
        control
    }

    fn read(&mut self, element: &str) {
        let (name, value) = element.split_once('=').map_or((element, None), |(name, value)| (name, Some(value)));
        let name = name.trim().to_ascii_lowercase();
        let time = || value.map_or(Duration::ZERO, seconds);
        match &*name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "only-if-cached" => self.only_if_cached = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "must-understand" => self.must_understand = true,
            "max-age" => drop(self.max_age.get_or_insert_with(time)),
            "s-maxage" => drop(self.s_maxage.get_or_insert_with(time)),
            "min-fresh" => drop(self.min_fresh.get_or_insert_with(time)),
            "max-stale" => drop(self.max_stale.get_or_insert_with(|| value.map_or(FOREVER, seconds))),
            "stale-while-revalidate" => drop(self.stale_while_revalidate.get_or_insert_with(time)),
            "stale-if-error" => drop(self.stale_if_error.get_or_insert_with(time)),
            _ => {}
        }
    }
}

// What is no number of seconds is none: an answer of which nobody knows how long it is fresh is stale.
fn seconds(value: &str) -> Duration {
    let digits = value.trim().trim_matches('"');
    match !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().map_or(FOREVER, |seconds| Duration::from_secs(seconds).min(FOREVER)),
        false => Duration::ZERO,
    }
}

/// The elements of a list, split at the commas that stand outside of quotes.
pub(super) fn elements(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let is_end = |byte: u8| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        };
        let end = rest.bytes().position(is_end).unwrap_or(rest.len());
        let element = rest[..end].trim();
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(element)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn control(values: &[&'static str]) -> Control {
        let values = values.iter().map(|value| (header::CACHE_CONTROL, HeaderValue::from_static(value)));
        Control::of(&values.collect())
    }

    #[test]
    fn directives_are_read_in_every_form_that_they_have() {
        let time = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(control(&["max-age=60"]).max_age, time(60));
        assert_eq!(
            control(&["Max-Age=\"60\" , PUBLIC"]),
            Control { max_age: time(60), public: true, ..Control::default() }
        );
        assert_eq!(control(&["max-age=60", "max-age=5"]).max_age, time(60));
        assert_eq!(control(&["x=\"a, max-age=1\", s-maxage=7"]), Control { s_maxage: time(7), ..Control::default() });
        assert_eq!(control(&["x=\"a\\\", no-store\", y"]), Control::default());
        for wrong in ["max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=x", "max-age=+1"] {
            assert_eq!(control(&[wrong]).max_age, time(0), "{wrong}");
        }
        assert_eq!(control(&["max-age=99999999999999999999"]).max_age, Some(FOREVER));
        assert_eq!(control(&["max-stale"]).max_stale, Some(FOREVER));
        assert!(control(&["private=\"set-cookie\""]).private && control(&["no-cache=\"x\""]).no_cache);
        assert!(control(&["proxy-revalidate"]).must_revalidate && control(&[", ,no-store,"]).no_store);
        assert_eq!(control(&["no-store-please, immutable"]), Control::default());
    }
}
