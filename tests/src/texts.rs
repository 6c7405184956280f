//! Texts in the memory of guests that are put together from WebAssembly text: `@"text"` stands for the address and the
//! length of that text. Knows no ABI.

use std::fmt::Write as _;

/// See the module.
#[derive(Default)]
pub(crate) struct Texts {
    /// The segments that hold them, for the module's text.
    pub(crate) data: String,
    placed: Vec<(String, usize)>,
}

// Texts are below the addresses that guests use for other things.
const TEXTS_END: usize = 0x8000;

impl Texts {
    /// `wat` with all its texts placed.
    pub(crate) fn place(&mut self, wat: &str) -> String {
        let mut parts = wat.split("@\"");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (text, rest) = part.split_once('"').expect("a text ends with a quotation mark");
            let (at, length) = self.at(text);
            write!(out, "(i32.const {at}) (i32.const {length}){rest}").expect("writing to a string does not fail");
        }
        out
    }

    fn at(&mut self, text: &str) -> (usize, usize) {
        if let Some((_, at)) = self.placed.iter().find(|(known, _)| known == text) {
            return (*at, length(text));
        }
        let at = self.placed.last().map_or(64, |(last, at)| at + length(last));
        assert!(at + length(text) < TEXTS_END, "there is no room for so many texts");
        writeln!(self.data, "(data (i32.const {at}) \"{text}\")").expect("writing to a string does not fail");
        self.placed.push((text.to_owned(), at));
        (at, length(text))
    }
}

// Of a text with escapes of two hexadecimal digits.
fn length(text: &str) -> usize {
    text.len() - 2 * text.matches('\\').count()
}
