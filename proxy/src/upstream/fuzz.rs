//! Bytes as an upstream's answer: whatever they are, nothing panics, and it does not matter how they were cut on their
//! way. Driven by `cargo fuzz run response`, and on stable by the unit test below.

use bytes::BytesMut;
use http::{HeaderMap, Method};

use super::{
    decode::{Decoder, Framing, Piece},
    head::{Malformed, Reader},
};

/// Reads `data` at once and in pieces, and panics where the two differ. Its first byte chooses the method and the size
/// of the pieces.
pub fn run(data: &[u8]) {
    let [choice, wire @ ..] = data else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::HEAD };
    let size = usize::from(choice >> 1) % 61 + 1;
    let (whole, pieces) = (read(wire, wire.len(), &method), read(wire, size, &method));
    assert_eq!(whole, pieces, "in pieces of {size}");
}

/// What an answer came to.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    fields: HeaderMap,
    framing: Framing,
    keep_alive: bool,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    left: usize,
}

// `None` where it is cut short or not an answer. Why it is not may differ: a limit may be met before a mistake.
fn read(wire: &[u8], size: usize, method: &Method) -> Option<Answer> {
    let mut pieces = wire.chunks(size.max(1));
    let (mut reader, mut input, mut fields) = (Reader::new(BYTES_MAX), BytesMut::new(), HeaderMap::new());
    let head = loop {
        input.extend_from_slice(pieces.next()?);
        match reader.read(&mut input, method, &mut fields) {
            Ok(None) => {}
            Ok(Some(head)) => break head,
            Err(Malformed(_)) => return None,
        }
    };
    let mut decoder = Decoder::new(head.framing, BYTES_MAX);
    let (mut body, mut trailers) = (Vec::new(), None);
    while !decoder.is_over() {
        match decoder.take(&mut input).ok()? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::Trailers(fields) => trailers = Some(fields),
            Piece::End => break,
            Piece::More => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => {
                    decoder.closed().ok()?;
                    break;
                }
            },
        }
    }
    let left = input.len() + pieces.map(<[u8]>::len).sum::<usize>();
    let (status, fields) = (head.parts.status.as_u16(), head.parts.headers);
    Some(Answer { status, fields, framing: head.framing, keep_alive: head.keep_alive, body, trailers, left })
}

// Larger than any input: where a limit is met depends on how the bytes are cut.
const BYTES_MAX: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_corpus_reads_the_same_in_pieces() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/response");
        let mut files = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 5);
    }

    // Lines that mean something, in any order, so that random input gets past the first line.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.0 200 \r\n",
            "HTTP/1.1 100 x\r\n",
            "HTTP/1.1 204 x\n",
            "a: b\r\n",
            "\r\n",
            "\n",
            "content-length: 5\r\n",
            "transfer-encoding: chunked\r\n",
            "connection: close, a\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "0\r\na: b\r\n\r\n",
            "3;x=y\r\nabc\r\n",
            "hello",
            "upgrade: x\r\n",
            "\r",
            "f",
            "\0",
        ]);
        let wire = prop::collection::vec(line, 0..14).prop_map(|lines| lines.concat().into_bytes());
        (any::<u8>(), wire).prop_map(|(choice, wire)| [vec![choice], wire].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn lines_read_the_same_in_pieces(data in lines()) {
            run(&data);
        }

        #[test]
        fn bytes_read_the_same_in_pieces(data in prop::collection::vec(any::<u8>(), 0..300)) {
            run(&data);
        }
    }
}
