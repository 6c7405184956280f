//! JSON as a tree that keeps the text of what nobody changes: numbers, strings and names stand as they were sent, members
//! in their order. Grammar of RFC 8259; white space between values is not kept. Knows no paths.

use std::borrow::Cow;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    /// A string, a number, `true`, `false` or `null`, as it is written.
    Scalar(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<Member<'a>>),
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// As it is written, with its quotes.
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Node<'a>,
}

/// Arrays and objects within one another. What is deeper is refused, before the stack is used up.
pub(crate) const DEPTH_MAX: u32 = 128;

impl<'a> Node<'a> {
    /// Reads one value and nothing behind it; `None` if it is no JSON, or deeper than [`DEPTH_MAX`].
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let node = reader.value(DEPTH_MAX)?;
        reader.space();
        (reader.at == text.len()).then_some(node)
    }

    /// Writes it without white space.
    pub(crate) fn write(&self, to: &mut String) {
        match self {
            Self::Scalar(text) => to.push_str(text),
            Self::Array(elements) => {
                to.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    element.write(to);
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    to.push_str(&member.key);
                    to.push(':');
                    member.value.write(to);
                }
                to.push('}');
            }
        }
    }

    /// The text of a string without quotes and escapes, or of another scalar as it is written; `None` for the rest.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Scalar(text) => Some(unquoted(text)),
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// A string.
    pub(crate) fn string(text: &str) -> Self {
        Self::Scalar(Cow::Owned(quoted(text)))
    }
}

impl Member<'_> {
    /// Whether this is its name, however it is written.
    pub(crate) fn is(&self, name: &str) -> bool {
        unquoted(&self.key) == name
    }
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// Half a surrogate pair is grammatical and no text: then the escapes stay.
fn unquoted(written: &str) -> Cow<'_, str> {
    let Some(inside) = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(written);
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str(written).map_or(Cow::Borrowed(inside), Cow::Owned)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u32) -> Option<Node<'a>> {
        self.space();
        let from = self.at;
        match self.peek()? {
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b'"' => {
                self.string()?;
                Some(self.scalar(from))
            }
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => {
                self.number()?;
                Some(self.scalar(from))
            }
        }
    }

    fn object(&mut self, depth: u32) -> Option<Node<'a>> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}') {
            return Some(Node::Object(members));
        }
        loop {
            self.space();
            let from = self.at;
            self.string()?;
            let key = Cow::Borrowed(&self.text[from..self.at]);
            self.space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            add(&mut members, Member { key, value });
            self.space();
            if self.take(b'}') {
                return Some(Node::Object(members));
            }
            self.expect(b',')?;
        }
    }

    fn array(&mut self, depth: u32) -> Option<Node<'a>> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.take(b']') {
            return Some(Node::Array(elements));
        }
        loop {
            let element = self.value(depth)?;
            add(&mut elements, element);
            self.space();
            if self.take(b']') {
                return Some(Node::Array(elements));
            }
            self.expect(b',')?;
        }
    }

    fn word(&mut self, word: &str) -> Option<Node<'a>> {
        let from = self.at;
        self.at += word.len();
        (self.text.get(from..self.at) == Some(word)).then(|| self.scalar(from))
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Some(())
    }

    fn scalar(&self, from: usize) -> Node<'a> {
        Node::Scalar(Cow::Borrowed(&self.text[from..self.at]))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }
}

// From room for one: most arrays and objects of a hostile body are tiny, and room for four each would be its lever.
fn add<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len().max(1));
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> Option<String> {
        let mut written = String::new();
        Node::parse(text)?.write(&mut written);
        Some(written)
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let cases = [
            (r#" { "b" : 1.0 , "a":[ 1E5,-0 , 0.10e+007 ] } "#, r#"{"b":1.0,"a":[1E5,-0,0.10e+007]}"#),
            (r#"{"a":12345678901234567890123456789,"a":"\u00e4\/ä\ud800"}"#, ""),
            ("[[],{},[null,true,false],\"\"]", ""),
            ("\"x\"", ""),
            ("-0.5", ""),
        ];
        for (text, written) in cases {
            assert_eq!(round(text).as_deref(), Some(if written.is_empty() { text } else { written }));
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let cases = [
            "",
            " ",
            "{",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "0x1",
            "NaN",
            "Infinity",
            "tru",
            "truex",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "1 2",
            "[1]]",
            "{}{}",
            "\u{feff}{}",
            "// x\n1",
            "\"a\" \"b\"",
        ];
        for text in cases {
            assert_eq!(round(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(round(&nested(128)).is_some());
        assert!(round(&nested(129)).is_none());
        assert!(round(&"{\"a\":".repeat(1_000_000)).is_none());
    }
}
