//! Blocks in the words of RFC 7541, and those of h2's own encoder.

use super::*;

fn check(trailers: bool, bytes: &[u8]) -> Result<(), Fault> {
    let outcomes: Vec<_> = [1, 2, 3, 1000]
        .into_iter()
        .map(|piece| {
            let mut blocks = Blocks::default();
            blocks.begin(trailers);
            bytes.chunks(piece).try_for_each(|piece| blocks.feed(piece)).and_then(|()| blocks.end())
        })
        .collect();
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{bytes:x?}: {outcomes:?}");
    outcomes[0]
}

#[test]
fn what_can_be_decoded_passes_however_it_is_cut() {
    for block in [
        &b"\x82\x86\x84\x41\x0fwww.example.com"[..],
        b"\x40\x0acustom-key\x0dcustom-header\xbe\x7e\x00",
        b"\x04\x0c/sample/path",
        b"\x10\x08password\x06secret",
        b"\x20\x3f\xe1\x1f\x82",
        b"\x00\x00\x00",
        b"",
    ] {
        assert_eq!(check(false, block), Ok(()), "{block:x?}");
    }
}

#[test]
fn what_cannot_be_decoded_does_not() {
    for block in [
        // Index 0, and indices past both tables, of a field and of a name.
        &b"\x80"[..],
        b"\xbe",
        b"\x40\x01a\x01b\xbf",
        b"\x7e\x01a",
        // The table resized behind a field, and beyond what was offered.
        b"\x82\x20",
        b"\x3f\xe2\x1f",
        // What is not whole.
        b"\x40",
        b"\x40\x0acustom-key",
        b"\x04\x0c/sample/pat",
        b"\xff",
        // A number that is too long, and Huffman codes that are none.
        b"\xff\x80\x80\x80\x80\x00",
        b"\x04\x81\x00",
        b"\x04\x82\x1f\xff",
    ] {
        assert_eq!(check(false, block), Err(Fault::Undecodable), "{block:x?}");
    }
}

#[test]
fn pseudo_headers_are_found_in_trailers() {
    for block in [
        &b"\x82"[..],
        b"\x00\x07:method\x03GET",
        b"\x00\x85\xb9\x49\x53\x39\xe4\x03GET",
        b"\x04\x01/",
        b"\x40\x02:x\x01y",
        b"\x10\x02:x\x00",
    ] {
        assert_eq!(check(true, block), Err(Fault::PseudoInTrailers), "{block:x?}");
        assert_eq!(check(false, block), Ok(()), "{block:x?}");
    }
    assert_eq!(check(true, b"\x00\x01x\x01:\x90"), Ok(()));
    let mut blocks = Blocks::default();
    blocks.begin(false);
    blocks.feed(b"\x40\x02:x\x01y").unwrap();
    blocks.begin(true);
    assert_eq!(blocks.feed(b"\xbe"), Err(Fault::PseudoInTrailers));
}
