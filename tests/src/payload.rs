//! Payloads of frames as the tables of conformance write them: bytes in hexadecimal; `NN*COUNT` for one byte many times;
//! `"text"`; `(name=value)` for a field; `@name` for what a table has a name for.

/// The bytes of `text`, in which `named` knows what `@name` stands for, and `field` how a field is written.
pub fn payload(text: &str, named: impl Fn(&str) -> Vec<u8>, field: impl Fn(&str, &str) -> Vec<u8>) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let until = match rest.as_bytes()[0] {
            b'"' => rest[1..].find('"').expect("a text ends") + 2,
            b'(' => rest.find(')').expect("a field ends") + 1,
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        let (piece, after) = rest.split_at(until);
        bytes.extend(match piece {
            name if name.starts_with('@') => named(name),
            text if text.starts_with('"') => text.trim_matches('"').as_bytes().to_vec(),
            pair if pair.starts_with('(') => {
                let (name, value) = pair.trim_matches(['(', ')']).split_once('=').expect("name=value");
                field(name, value)
            }
            many if many.contains('*') => {
                let (byte, count) = many.split_once('*').expect("NN*COUNT");
                digits(byte).repeat(count.parse().expect("a count"))
            }
            plain => digits(plain),
        });
        rest = after.trim_start();
    }
    bytes
}

fn digits(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("no bytes: {text}"))).collect()
}
