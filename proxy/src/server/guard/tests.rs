//! The guard's verdicts, and that they do not depend on how the bytes arrive. The table of whole requests is
//! `tests/tables/http1.txt`, which runs over sockets.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { head_bytes_max: 512, headers_max: 8, uri_bytes_max: 64 };

// All that passes, the number of heads, and what holds at the end, fed in pieces that end where `cuts` say.
fn run(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, u64, Then) {
    let mut scanner = Scanner::new(BOUNDS);
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut then = Then::More;
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        held.extend_from_slice(&bytes[start..end.max(start)]);
        start = end.max(start);
        loop {
            let verdict = scanner.feed(&held);
            passed.extend(held.drain(..verdict.pass));
            then = verdict.then;
            // The adapter would wait here; for the test, the request is refused its switch at once.
            if then != Then::Switch || held.is_empty() {
                break;
            }
        }
        if matches!(then, Then::Fault(_)) {
            break;
        }
    }
    (passed, scanner.heads(), then)
}

#[test]
fn a_stream_of_requests_passes_whole() {
    let stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\
        POST /y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=\"b\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n\
        GET /z HTTP/1.0\r\n\r\n";
    let (passed, heads, then) = run(stream, &[]);
    assert_eq!((passed.as_slice(), heads, then), (&stream[..], 4, Then::More));
}

#[test]
fn nothing_of_a_head_passes_before_all_of_it_is_there() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..head.len() {
        let mut scanner = Scanner::new(BOUNDS);
        assert_eq!(scanner.feed(&head[..cut]), Verdict { pass: 0, then: Then::More });
        assert_eq!(scanner.feed(head), Verdict { pass: head.len(), then: Then::More });
    }
}

#[test]
fn what_follows_a_wish_to_switch_waits() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut scanner = Scanner::new(BOUNDS);
    let bytes = format!("{head}\x01\x02");
    assert_eq!(scanner.feed(bytes.as_bytes()), Verdict { pass: head.len(), then: Then::Switch });
    for other in ["h2c", "websocket, H2C"] {
        let head = head.replace("websocket", other);
        assert_eq!(Scanner::new(BOUNDS).feed(head.as_bytes()), Verdict { pass: head.len(), then: Then::More });
    }
}

#[test]
fn limits_have_their_own_answers() {
    let field = format!("X: {}\r\n", "x".repeat(100));
    let cases = [
        (format!("GET /{} HTTP/1.1\r\n", "u".repeat(64)), Kind::UriTooLong),
        (format!("GET /{}", "u".repeat(600)), Kind::UriTooLong),
        (format!("GET / HTTP/1.1\r\n{}", field.repeat(5)), Kind::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\n{}", "a:b\r\n".repeat(9)), Kind::HeadTooLarge),
        ("CONNECT a:1 HTTP/1.1\r\n".into(), Kind::MethodNotAllowed),
        ("GET / HTTP/2.0\r\n".into(), Kind::MalformedRequest),
    ];
    for (bytes, kind) in cases {
        let (passed, heads, then) = run(bytes.as_bytes(), &[]);
        assert!(matches!(then, Then::Fault(fault) if fault.kind == kind), "{then:?} for {bytes}");
        assert_eq!((passed.len(), heads), (0, 0));
    }
}

#[test]
fn a_fault_in_a_body_lets_what_was_good_pass() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, bad) in [
        ("", "\r\n"),
        ("", " 1\r\n"),
        ("", "+1\r\n"),
        ("0", "x1\r\n"),
        ("1", " \r\n"),
        ("1", "\n"),
        ("1\r", "x"),
        ("1\r\na", "b\r\n"),
        ("1\r\na", "\n"),
        ("1;", "\n"),
        ("1;a", "\x00"),
        ("1111111111111111", "1"),
        ("0\r\n", "X y: z\r\n"),
        ("0\r\n", "Content-Length: 1\r\n"),
        ("0\r\n", "\n"),
        ("0\r\n", " a: b\r\n"),
    ] {
        let bytes = format!("{head}{good}{bad}");
        let (passed, heads, then) = run(bytes.as_bytes(), &[]);
        assert!(matches!(then, Then::Fault(_)), "{good:?} {bad:?}");
        assert_eq!((String::from_utf8(passed).unwrap(), heads), (format!("{head}{good}"), 1));
    }
}

// Pieces of which streams are made that are sometimes good and mostly not.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x?y HTTP/1.1\r\n",
        "GET http://a/ HTTP/1.0\r\n",
        "Host: a\r\n",
        "X-A: b\r\n",
        "Content-Length: 4\r\n",
        "Content-Length: 04\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: x\r\n",
        "Connection: upgrade\r\n",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "4\r\n",
        "abcd",
        "abcd\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "2;x\r\nab\r\n",
        " ",
        "\t",
        ":",
        "\0",
        "x",
        "GET /",
        "12345678901234567890",
        "X: 1\r\n\r\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_verdict_does_not_depend_on_how_the_bytes_arrive(bytes in pieces(), cuts in prop::collection::vec(0_usize..300, 0..8)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let every: Vec<_> = (0..bytes.len()).collect();
        let whole = run(&bytes, &[]);
        prop_assert_eq!(&run(&bytes, &cuts), &whole);
        prop_assert_eq!(&run(&bytes, &every), &whole);
        prop_assert!(bytes.starts_with(&whole.0));
    }

    #[test]
    fn any_bytes_are_taken_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        run(&bytes, &[]);
    }
}
