//! Names of fields that a plugin sets, parsed once: most plugins set the same few in every exchange. One worker's of one plugin.

use std::cell::RefCell;

use http::HeaderName;

use super::{http::own, types::Refusal};

/// See the module. Bounded, as a plugin may make names up: then each is parsed when it comes.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Names(RefCell<Vec<HeaderName>>);

/// Names that are kept; few plugins have more, and looking through them has to stay cheaper than parsing.
const NAMES_MAX: usize = 8;
/// Bytes of one.
const NAME_BYTES_MAX: usize = 64;

impl Names {
    /// As [`own`].
    ///
    /// # Errors
    /// As [`own`].
    pub(super) fn own(&self, name: &str) -> Result<HeaderName, Refusal> {
        if let Some(known) = self.0.borrow().iter().find(|known| known.as_str() == name) {
            return Ok(known.clone());
        }
        let parsed = own(name)?;
        let mut known = self.0.borrow_mut();
        // One in capitals would never be found.
        if known.len() < NAMES_MAX && name.len() <= NAME_BYTES_MAX && parsed.as_str() == name {
            known.push(parsed.clone());
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_would_be_without_and_few_are_kept() {
        let names = Names::default();
        for _ in 0..2 {
            assert_eq!(names.own("x-a").unwrap(), "x-a");
            assert_eq!(names.own("X-B").unwrap(), "x-b");
            assert_eq!(names.own("connection"), Err(Refusal::Reserved));
            assert_eq!(names.own("a b"), Err(Refusal::Malformed));
            assert_eq!(names.own(&"a".repeat(NAME_BYTES_MAX + 1)).unwrap().as_str().len(), NAME_BYTES_MAX + 1);
        }
        assert_eq!(names.0.borrow().as_slice(), ["x-a"]);
        for number in 0..100 {
            let name = format!("x-{number}");
            assert_eq!(names.own(&name).unwrap(), *name);
        }
        assert_eq!(names.0.borrow().len(), NAMES_MAX);
    }
}
