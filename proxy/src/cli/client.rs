//! One question to a running gateway's admin endpoint: HTTP/1.1 over TCP or a Unix socket, one exchange a connection.
//! The standard library is enough; knows no endpoint.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use super::args::Admin;
use crate::admin::Address;

/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until an answer: a reload compiles modules, which takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of an answer; what a gateway says of itself is far below.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// An answer: its status and body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Asks for `target` (path and query) with `method`.
///
/// # Errors
/// In words, with the next step: nobody listens, the token cannot be read, or what answered is no admin endpoint.
pub(super) fn ask(admin: &Admin, method: &str, target: &str) -> Result<Answer, String> {
    let token = token(admin)?;
    let stream = connect(&admin.address).map_err(|error| unreachable(&admin.address, &error))?;
    exchange(stream, method, target, token.as_deref())
        .map_err(|error| format!("the admin endpoint {} did not answer as expected: {error}", admin.address))
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn token(admin: &Admin) -> Result<Option<String>, String> {
    let Some(file) = &admin.admin_token_file else { return Ok(admin.admin_token.clone()) };
    let read = fs::read_to_string(file).map(|token| Some(token.trim().to_owned()));
    let token = read.map_err(|error| format!("cannot read the admin token from {}: {error}", file.display()))?;
    // A line end within would be a field of its own.
    match token.as_deref() {
        Some(token) if token.contains(|c: char| c.is_control()) => {
            Err(format!("the admin token in {} is not one line of text", file.display()))
        }
        _ => Ok(token),
    }
}

fn connect(address: &Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, CONNECT_TIMEOUT)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(Box::new(stream))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            Ok(Box::new(stream))
        }
    }
}

fn unreachable(address: &Address, error: &io::Error) -> String {
    format!(
        "no gateway answers at {address}: {error}; is it running, and does --admin say where its admin endpoint is?"
    )
}

fn exchange(mut stream: Box<dyn Stream>, method: &str, target: &str, token: Option<&str>) -> io::Result<Answer> {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    read(BufReader::new(stream))
}

fn read(mut stream: impl BufRead) -> io::Result<Answer> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut head = stream.by_ref().take(HEAD_BYTES_MAX);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split_ascii_whitespace();
    let speaks = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().filter(|_| speaks).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid("it does not speak HTTP/1.1"))?;
    let mut length = None;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(invalid("its answer ended early"));
        }
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    stream.take(ANSWER_BYTES_MAX.min(length.unwrap_or(u64::MAX))).read_to_end(&mut body)?;
    if length.is_some_and(|length| length != body.len() as u64) {
        return Err(invalid("its answer ended early"));
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_to_their_end() {
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some((200, "ok"))),
            ("HTTP/1.1 422 Unprocessable\r\ncontent-length:2\r\nX: y\r\n\r\nokmore", Some((422, "ok"))),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", Some((200, "to the end"))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None),
            ("HTTP/1.1 200 OK\r\nContent-Le", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
        ] {
            let answer = read(bytes.as_bytes()).ok();
            let read = answer.as_ref().map(|answer| (answer.status, std::str::from_utf8(&answer.body).expect("UTF-8")));
            assert_eq!(read, expected, "{bytes:?}");
        }
    }
}
