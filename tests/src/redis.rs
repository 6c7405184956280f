//! A server that speaks Redis (RESP2) and knows as much as a test needs: `AUTH`, `SELECT`, `SET`, `GET`, `INCR`; `HANG`
//! is never answered, `BREAK` ends the connection, and `LONG` answers with as many bytes as it is told.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// See the module. Ends when it is dropped.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    password: Option<String>,
    values: HashMap<String, String>,
    commands: Vec<String>,
    connections: usize,
}

impl Redis {
    /// Starts one; who gives no `password`, where there is one, is answered with an error.
    pub async fn start(password: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Seen { password: password.map(str::to_owned), ..Seen::default() }));
        let state = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                state.lock().expect("not poisoned").connections += 1;
                serving.spawn(serve(socket, Arc::clone(&state)));
            }
        });
        Self { address, seen, accepting }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The commands that came, words parted by spaces, in order.
    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").commands.clone()
    }

    /// Connections that were ever made.
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("not poisoned").connections
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(socket: TcpStream, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut known = seen.lock().expect("not poisoned").password.is_none();
    while let Some(words) = command(&mut socket).await? {
        let Some(answer) = answer(&words, &mut known, &seen) else {
            if words[0] == "BREAK" {
                return Ok(());
            }
            continue;
        };
        socket.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

fn answer(words: &[String], known: &mut bool, seen: &Mutex<Seen>) -> Option<String> {
    let mut seen = seen.lock().expect("not poisoned");
    seen.commands.push(words.join(" "));
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    if let ["AUTH", .., password] = words[..] {
        *known = seen.password.as_deref() == Some(password);
    }
    Some(match words[..] {
        _ if !*known => "-NOAUTH who is it?\r\n".into(),
        ["AUTH", ..] | ["SELECT", _] => "+OK\r\n".into(),
        ["SET", key, value] => {
            seen.values.insert(key.into(), value.into());
            "+OK\r\n".into()
        }
        ["GET", key] => match seen.values.get(key) {
            Some(value) => format!("${}\r\n{value}\r\n", value.len()),
            None => "$-1\r\n".into(),
        },
        ["INCR", key] => {
            let value = seen.values.get(key).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0) + 1;
            seen.values.insert(key.into(), value.to_string());
            format!(":{value}\r\n")
        }
        ["LONG", length] => {
            let length: usize = length.parse().unwrap_or(0);
            format!("${length}\r\n{}\r\n", "x".repeat(length))
        }
        ["HANG" | "BREAK"] => return None,
        _ => "-ERR unknown command\r\n".into(),
    })
}

async fn command(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<String>>> {
    let Some(count) = number(socket, "*").await? else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(length) = number(socket, "$").await? else { return Ok(None) };
        let mut word = vec![0; length + 2];
        socket.read_exact(&mut word).await?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(Some(words))
}

async fn number(socket: &mut BufReader<TcpStream>, kind: &str) -> std::io::Result<Option<usize>> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    Ok(line.trim_end().strip_prefix(kind).and_then(|digits| digits.parse().ok()))
}
