//! One connection to a Redis server: commands go out as they come, answers come back in the same order. It ends with its
//! first failure, and with who holds it.

use std::{cell::RefCell, collections::VecDeque, io, pin::pin};

use bytes::{Bytes, BytesMut};
use futures_util::future::select;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
};

use super::{Settings, reply};
use crate::{
    exchange::{Duplex, Request},
    wasm::proxy_wasm::outbox::Held,
};

/// See the module.
pub(in crate::wasm::proxy_wasm) struct Line(mpsc::UnboundedSender<Asked>);

// A command, who waits for its answer, and what it counts for until that is there.
struct Asked {
    query: Bytes,
    answer: oneshot::Sender<Bytes>,
    held: Option<Held>,
}

// Who waits, in order; nobody for what the connection says by itself.
type Waiting = RefCell<VecDeque<(Option<oneshot::Sender<Bytes>>, Option<Held>)>>;

impl Line {
    /// One to where `request` would go. Commands may be given at once.
    pub(super) fn open(request: Box<Request>, settings: &Settings) -> Self {
        let (sender, commands) = mpsc::unbounded_channel();
        let settings = settings.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = run(request, &settings, commands).await {
                tracing::debug!(%error, "a plugin's connection to Redis ended");
            }
        });
        Self(sender)
    }

    /// Whether it takes commands still.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }

    /// The answer to a command; `None` where the connection ends before.
    pub(super) async fn ask(&self, query: Bytes, held: Held) -> Option<Bytes> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Asked { query, answer, held: Some(held) }).ok()?;
        answered.await.ok()
    }
}

async fn run(
    request: Box<Request>,
    settings: &Settings,
    mut commands: mpsc::UnboundedReceiver<Asked>,
) -> Result<(), Box<dyn std::error::Error>> {
    let socket = settings.upstream.open(&request).await?;
    // Its exchange is over long before the connection is, and holds its generation.
    drop(request);
    let (mut from, mut to) = tokio::io::split(socket);
    let waiting = Waiting::default();
    for hello in &settings.hello {
        waiting.borrow_mut().push_back((None, None));
        to.write_all(hello).await?;
    }
    to.flush().await?;
    let writes = pin!(write(&mut to, &mut commands, &waiting));
    let reads = pin!(read(&mut from, &waiting, settings.bytes_max));
    select(writes, reads).await.factor_first().0?;
    Ok(())
}

// Until nobody can ask any more.
async fn write(
    to: &mut WriteHalf<Box<dyn Duplex>>,
    commands: &mut mpsc::UnboundedReceiver<Asked>,
    waiting: &Waiting,
) -> io::Result<()> {
    while let Some(Asked { query, answer, held }) = commands.recv().await {
        waiting.borrow_mut().push_back((Some(answer), held));
        to.write_all(&query).await?;
        if commands.is_empty() {
            to.flush().await?;
        }
    }
    Ok(())
}

// Until the other end says something that is no answer, or nothing any more.
async fn read(from: &mut ReadHalf<Box<dyn Duplex>>, waiting: &Waiting, bytes_max: usize) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    loop {
        while let Some(length) = reply::length(&bytes).map_err(|_| wrong("what it says is not Redis"))? {
            if length > bytes_max {
                return Err(wrong(TOO_LONG));
            }
            let answer = bytes.split_to(length).freeze();
            match waiting.borrow_mut().pop_front() {
                None => return Err(wrong("it answers what nobody asked")),
                // Refused to let the plugin in.
                Some((None, _)) if answer.starts_with(b"-") => {
                    return Err(wrong(&String::from_utf8_lossy(&answer)));
                }
                Some((None, _)) => {}
                // Who does not wait any more needs no answer.
                Some((Some(waits), _)) => drop(waits.send(answer)),
            }
        }
        if bytes.len() > bytes_max {
            return Err(wrong(TOO_LONG));
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(wrong("it closed the connection"));
        }
    }
}

const TOO_LONG: &str = "its answer is over `call-bytes-max`";

fn wrong(what: &str) -> io::Error {
    io::Error::other(what.trim_end().to_owned())
}
