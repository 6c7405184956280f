//! Fields of a response that a plugin gives at the request: kept with its part in the exchange, and put into the response
//! when that comes by.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    http::{FIELDS_MAX, content},
    names::Names,
    types::Refusal,
};

/// What becomes of a response's fields.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Ahead(Vec<(Way, HeaderName, HeaderValue)>);

/// How a field goes into a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In the place of whatever was there.
    Set,
    Append,
}

impl Way {
    /// Puts a field that a plugin gives into a head.
    ///
    /// # Errors
    /// Where it is not valid, not a plugin's to set, or there is no room.
    pub(super) fn edit(
        self,
        names: &Names,
        headers: &mut HeaderMap,
        (name, value): (&str, Vec<u8>),
    ) -> Result<(), Refusal> {
        self.put(headers, names.own(name)?, content(value)?)
    }

    /// Puts a field into a head, if that has room.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] where it has not.
    pub(super) fn put(self, headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<(), Refusal> {
        let room = headers.len() < FIELDS_MAX;
        match self {
            Self::Set if room || headers.contains_key(&name) => drop(headers.insert(name, value)),
            Self::Append if room => drop(headers.append(name, value)),
            Self::Set | Self::Append => return Err(Refusal::TooLarge),
        }
        Ok(())
    }
}

impl Ahead {
    /// Takes one more.
    ///
    /// # Errors
    /// As where a field is set at once; where there are as many as a head may have.
    pub(super) fn add(&mut self, names: &Names, way: Way, (name, value): (&str, Vec<u8>)) -> Result<(), Refusal> {
        let (name, value) = (names.own(name)?, content(value)?);
        if self.0.len() >= FIELDS_MAX {
            return Err(Refusal::TooLarge);
        }
        self.0.push((way, name, value));
        Ok(())
    }

    /// Whether there is nothing to do.
    pub(in crate::wasm) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into a head, in their order, as far as it has room.
    pub(in crate::wasm) fn apply(self, headers: &mut HeaderMap) {
        for (way, name, value) in self.0 {
            // What there is no room for is left out.
            way.put(headers, name, value).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_their_order_over_what_was_there() {
        let mut headers = HeaderMap::new();
        headers.insert("a", HeaderValue::from_static("origin"));
        headers.insert("b", HeaderValue::from_static("origin"));
        let (mut ahead, names) = (Ahead::default(), Names::default());
        assert!(ahead.is_empty());
        for (way, name, value) in
            [(Way::Set, "A", "1"), (Way::Append, "b", "2"), (Way::Set, "c", "3"), (Way::Append, "c", "4")]
        {
            assert_eq!(ahead.add(&names, way, (name, value.into())), Ok(()));
        }
        ahead.apply(&mut headers);
        let values = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((values("a"), values("b"), values("c")), (vec!["1"], vec!["origin", "2"], vec!["3", "4"]));
    }

    #[test]
    fn what_is_not_a_plugins_to_set_is_refused_when_it_is_given_and_heads_stay_bounded() {
        let (mut ahead, names) = (Ahead::default(), Names::default());
        let cases = [
            ("content-length", "1", Refusal::Reserved),
            ("a b", "1", Refusal::Malformed),
            ("a", "\n", Refusal::Malformed),
        ];
        for (name, value, refused) in cases {
            assert_eq!(ahead.add(&names, Way::Set, (name, value.into())), Err(refused), "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("known", HeaderValue::from_static("origin"));
        for number in 0..FIELDS_MAX - 1 {
            assert_eq!(ahead.add(&names, Way::Append, (&format!("x-{number}"), b"1".to_vec())), Ok(()));
        }
        assert_eq!(ahead.add(&names, Way::Set, ("known", b"1".to_vec())), Ok(()));
        assert_eq!(ahead.add(&names, Way::Append, ("known", b"2".to_vec())), Err(Refusal::TooLarge));
        headers.insert("another", HeaderValue::from_static("origin"));
        ahead.apply(&mut headers);
        assert_eq!((headers.len(), &headers["known"]), (FIELDS_MAX, &HeaderValue::from_static("1")));
    }
}
