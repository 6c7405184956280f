//! Runs `tests/tables/http1.txt` over sockets; the format is described there.

use super::stage::{Client, Running, Stage};

struct Case {
    name: String,
    sent: Vec<u8>,
    statuses: Vec<u16>,
    keep: bool,
}

#[test]
fn every_request_of_the_table_gets_the_answers_that_it_says() {
    let cases: Vec<_> = TABLE.split("\n\n").filter_map(case).collect();
    assert!(cases.len() > 120, "{}", cases.len());
    Stage::default().run(async |stage| {
        let mut failed = Vec::new();
        for case in &cases {
            // However the bytes arrive: in one piece, and in two that are cut in the middle of something.
            for pieces in [1, 2, 7] {
                failed.extend(play(&stage, case, pieces).await.err());
            }
        }
        assert!(failed.is_empty(), "{} cases failed:\n  {}", failed.len(), failed.join("\n  "));
    });
}

// smuggler's: each byte that some servers pass over, in each place where some do.
#[test]
fn a_byte_that_does_not_belong_around_a_coding_is_refused() {
    let places: [fn(&str) -> String; 4] = [
        |byte| format!("Transfer-Encoding:{byte}chunked"),
        |byte| format!("Transfer-Encoding{byte}: chunked"),
        |byte| format!("{byte}Transfer-Encoding: chunked"),
        |byte| format!("Transfer-Encoding: chunked{byte}"),
    ];
    Stage::default().run(async |stage| {
        let mut failed = Vec::new();
        for byte in (0..=0x20).chain(0x7f..=0xff) {
            for (at, place) in places.iter().enumerate() {
                let is_blank = [b' ', b'\t'].contains(&byte) && [0, 3].contains(&at);
                let field = place(&format!("\\x{byte:02x}"));
                let text = format!("POST / HTTP/1.1\\r\\nHost: a\\r\\n{field}\\r\\n\\r\\n0\\r\\n\\r\\n");
                let statuses = vec![if is_blank { 200 } else { 400 }];
                let case = Case { name: field, sent: bytes(&text), statuses, keep: is_blank };
                failed.extend(play(&stage, &case, 1).await.err());
            }
        }
        assert!(failed.is_empty(), "{} cases failed:\n  {}", failed.len(), failed.join("\n  "));
    });
}

async fn play(stage: &Running, case: &Case, pieces: usize) -> Result<(), String> {
    let mut client = stage.connect().await;
    let mut sent = Ok(());
    for piece in case.sent.chunks(case.sent.len().div_ceil(pieces)) {
        // A connection that is over before all was sent takes no more.
        sent = client.try_send(piece).await;
        if sent.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut statuses = Vec::new();
    while statuses.len() < case.statuses.len() {
        let Some(answer) = client.try_answer().await else { break };
        assert!(answer.status < 400 || answer.field("content-length").is_some(), "{}: {answer:?}", case.name);
        statuses.push(answer.status);
    }
    let kept = is_kept(&mut client).await;
    if (&statuses, kept) == (&case.statuses, case.keep) {
        return Ok(());
    }
    let Case { name, statuses: wanted, .. } = case;
    Err(format!("{name}, in {pieces} pieces ({sent:?}): {statuses:?} in place of {wanted:?}; is it kept? {kept}"))
}

async fn is_kept(client: &mut Client) -> bool {
    let sent = client.try_send(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    match client.try_answer().await {
        Some(answer) => sent.is_ok() && answer.status == 200,
        None => false,
    }
}

fn case(block: &str) -> Option<Case> {
    let mut lines = block.lines().filter(|line| !line.starts_with('#'));
    let name = lines.next()?.to_owned();
    let (expected, sent): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with("=> "));
    let mut words: Vec<_> = expected.first()?.split(' ').skip(1).collect();
    let keep = words.pop()? == "keep";
    let statuses = words.into_iter().map(|word| word.parse().unwrap()).collect();
    Some(Case { name, sent: bytes(&sent.concat()), statuses, keep })
}

fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('0') => bytes.push(0),
                Some('x') => {
                    let (digits, after) = rest.as_str().split_at(2);
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = after.chars();
                }
                other => bytes.extend(other.map(|other| other as u8)),
            },
            '{' => {
                let (inner, after) = braces(rest.as_str());
                let (what, times) = inner.rsplit_once('*').unwrap();
                bytes.extend(self::bytes(what).repeat(times.parse().unwrap()));
                rest = after.chars();
            }
            other => bytes.push(u8::try_from(other).unwrap()),
        }
    }
    bytes
}

// What is between braces that were just opened, and what is behind them.
fn braces(text: &str) -> (&str, &str) {
    let mut depth = 1;
    let end = text.find(|next| {
        depth += i32::from(next == '{') - i32::from(next == '}');
        depth == 0
    });
    let end = end.unwrap();
    (&text[..end], &text[end + 1..])
}

const TABLE: &str = include_str!("../../../../tests/tables/http1.txt");
