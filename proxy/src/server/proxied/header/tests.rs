//! Headers as proxies send them, and as they should not.

use proptest::prelude::*;

use super::*;

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn addresses(bytes: &[u8]) -> Option<(String, String)> {
    match read(bytes, 4096) {
        Verdict::Header(header) => header.addresses.map(|(from, to)| (from.to_string(), to.to_string())),
        other => panic!("{other:?}: {bytes:?}"),
    }
}

fn told(from: &str, to: &str) -> Option<(String, String)> {
    Some((from.to_owned(), to.to_owned()))
}

const BLOCK4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x01, 0xbb];

#[test]
fn lines_of_version_1_are_read() {
    assert_eq!(addresses(b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 443\r\nGET"), told("192.0.2.1:4660", "192.0.2.2:443"));
    assert_eq!(addresses(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), told("[2001:db8::1]:0", "[::1]:65535"));
    assert_eq!(addresses(b"PROXY UNKNOWN\r\n"), None);
    assert_eq!(addresses(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), None);
    let Verdict::Header(header) = read(b"PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n", 4096) else { panic!() };
    assert_eq!((header.length, header.version), (15, 1));
}

#[test]
fn lines_that_are_not_well_formed_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert!(matches!(read(line.as_bytes(), 4096), Verdict::Malformed(_)), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert!(matches!(read(long.as_bytes(), 4096), Verdict::Malformed(_)));
}

#[test]
fn blocks_of_version_2_are_read() {
    assert_eq!(addresses(&v2(0x21, 0x11, &BLOCK4)), told("192.0.2.1:4660", "192.0.2.2:443"));
    let mut block6 = [0; 36];
    (block6[15], block6[31], block6[33], block6[35]) = (1, 2, 80, 81);
    assert_eq!(addresses(&v2(0x21, 0x21, &block6)), told("[::1]:80", "[::2]:81"));
    let tlvs = [&BLOCK4[..], &[0x04, 0, 3, 1, 2, 3], &[0xea, 0, 200]].concat();
    assert_eq!(addresses(&v2(0x21, 0x11, &tlvs)), told("192.0.2.1:4660", "192.0.2.2:443"));
    assert_eq!(addresses(&v2(0x20, 0x11, &BLOCK4)), None, "LOCAL speaks for itself");
    assert_eq!(addresses(&v2(0x20, 0xff, b"")), None);
    assert_eq!(addresses(&v2(0x21, 0x00, b"anything")), None);
    assert_eq!(addresses(&v2(0x21, 0x31, &[0; 216])), None);
}

#[test]
fn blocks_that_are_not_well_formed_are_refused() {
    for (command, family, block) in
        [(0x11, 0x11, &BLOCK4[..]), (0x22, 0x11, &BLOCK4), (0x21, 0x13, &BLOCK4), (0x21, 0x11, &BLOCK4[..11])]
    {
        assert!(matches!(read(&v2(command, family, block), 4096), Verdict::Malformed(_)), "{command} {family}");
    }
    assert!(matches!(read(&v2(0x21, 0x21, &[0; 35]), 4096), Verdict::Malformed(_)));
    assert_eq!(read(&v2(0x21, 0x11, &[0; 600])[..16], 616), Verdict::More);
    assert_eq!(read(&v2(0x21, 0x11, &[0; 600])[..16], 615), Verdict::TooLong);
}

#[test]
fn what_is_no_header_is_left_alone() {
    for bytes in
        [&b"GET / HTTP/1.1"[..], b"PROPFIND / HTTP/1.1", b"PROXY/", b"PRI * HTTP/2.0\r\n\r\nSM", b"\x16\x03\x01"]
    {
        assert_eq!(read(bytes, 4096), Verdict::Absent, "{bytes:?}");
    }
    assert_eq!(read(b"\r\nGET / HTTP/1.1", 4096), Verdict::Absent, "an empty line before a request");
}

proptest! {
    // However it is cut, nothing is decided before it can be, and nothing panics.
    #[test]
    fn a_header_that_is_not_whole_wants_more(cut in 0..100_usize) {
        for whole in [b"PROXY TCP4 192.0.2.1 192.0.2.2 4660 443\r\n".to_vec(), v2(0x21, 0x11, &BLOCK4)] {
            if cut < whole.len() {
                prop_assert_eq!(read(&whole[..cut], 4096), Verdict::More);
            }
        }
    }

    #[test]
    fn whatever_comes_is_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), signed in any::<bool>()) {
        let bytes = if signed { [SIGNATURE, &bytes].concat() } else { [WORD, &bytes].concat() };
        if let Verdict::Header(header) = read(&bytes, 4096) {
            prop_assert!(header.length <= bytes.len());
        }
    }
}
