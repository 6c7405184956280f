//! Changes to fields that are not there yet: of a response before there is one, or of trailers before their body is at
//! its end. Knows no guest.

use http::{HeaderMap, HeaderName, HeaderValue};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// What is set or added.
    fields: HeaderMap,
    /// Names whose values are not to stay.
    gone: Vec<HeaderName>,
}

impl Edits {
    /// Puts a value in the place of all that a field has.
    pub(super) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.forget(&name);
        self.fields.insert(name, value);
    }

    /// Adds a value to a field.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.append(name, value);
    }

    /// Removes a field.
    pub(super) fn remove(&mut self, name: &HeaderName) {
        self.forget(name);
        self.fields.remove(name);
    }

    fn forget(&mut self, name: &HeaderName) {
        if !self.gone.contains(name) {
            self.gone.push(name.clone());
        }
    }

    /// What is set or added so far.
    pub(super) const fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.fields.len() + self.gone.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.gone.is_empty()
    }

    /// Makes them.
    pub(super) fn apply(&self, to: &mut HeaderMap) {
        for name in &self.gone {
            to.remove(name);
        }
        for (name, value) in &self.fields {
            to.append(name, value.clone());
        }
    }

    /// What `base` is with them.
    pub(super) fn on(&self, base: &HeaderMap) -> HeaderMap {
        let mut fields = base.clone();
        self.apply(&mut fields);
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_takes_the_place_of_what_comes_and_what_is_added_stands_beside_it() {
        let value = HeaderValue::from_static;
        let (a, b, c) = (HeaderName::from_static("a"), HeaderName::from_static("b"), HeaderName::from_static("c"));
        let mut edits = Edits::default();
        assert!(edits.is_empty());
        edits.add(a.clone(), value("1"));
        edits.set(b.clone(), value("2"));
        edits.add(b.clone(), value("3"));
        edits.remove(&c);
        let mut base = HeaderMap::new();
        for (name, text) in [(&a, "0"), (&b, "0"), (&c, "0")] {
            base.append(name, value(text));
        }
        let made = edits.on(&base);
        let values = |name: &HeaderName| made.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((values(&a), values(&b), values(&c)), (vec!["0", "1"], vec!["2", "3"], vec![]));
    }
}
