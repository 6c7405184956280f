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
        for case in &cases {
            // However the bytes arrive: in one piece, and in two that are cut in the middle of something.
            for pieces in [1, 2, 7] {
                play(&stage, case, pieces).await;
            }
        }
    });
}

async fn play(stage: &Running, case: &Case, pieces: usize) {
    let mut client = stage.connect().await;
    for piece in case.sent.chunks(case.sent.len().div_ceil(pieces)) {
        // A connection that is over before all was sent takes no more.
        if client.try_send(piece).await.is_err() {
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
    assert_eq!(statuses, case.statuses, "{}, in {pieces} pieces", case.name);
    let kept = is_kept(&mut client).await;
    assert_eq!(kept, case.keep, "{}, in {pieces} pieces: is the connection kept?", case.name);
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
