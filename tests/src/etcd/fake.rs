//! An etcd that misbehaves as a real one seldom does: it holds one document at one revision, and the first watch on it
//! closes, is cancelled, or falls silent. Later ones are as they should be. Speaks only what a gateway asks for.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the first watch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// It ends without a word.
    Closes,
    /// It is cancelled, for a reason of etcd's own.
    IsCancelled,
    /// It says nothing, and answers no question.
    FallsSilent,
}

/// A server of that kind.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    watches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

const REVISION: u64 = 5;

#[derive(Clone)]
struct Part {
    how: Misbehaviour,
    key: String,
    document: String,
    watches: Arc<AtomicUsize>,
}

impl Fake {
    /// One that holds `document` under `key`.
    pub async fn start(how: Misbehaviour, key: &str, document: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let watches = Arc::<AtomicUsize>::default();
        let (key, document) = (key.to_owned(), document.to_owned());
        let part = Part { how, key, document, watches: Arc::clone(&watches) };
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, part.clone()));
            }
        });
        Self { address, watches, task }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many watches were opened.
    pub fn watches(&self) -> usize {
        self.watches.load(Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, part: Part) {
    let Ok(mut connection) = server::handshake(socket).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        let part = part.clone();
        // Whoever hangs up in the middle is answered no further.
        tokio::spawn(async move { drop(play(request, answer, part).await) });
    }
}

async fn play(request: Request<RecvStream>, mut answer: SendResponse<Bytes>, part: Part) -> Result<(), h2::Error> {
    let path = request.uri().path().to_owned();
    let mut asked = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc").body(()).expect("a valid head");
    let mut stream = answer.send_response(head, false)?;
    if path.ends_with("/Watch") {
        return part.watch(&mut asked, &mut stream).await;
    }
    let Some(body) = asked.data().await else { return Ok(()) };
    if path.ends_with("/Range") {
        stream.send_data(frame(&part.range(&body?)), false)?;
        end(&mut stream, "0")
    } else {
        end(&mut stream, "12")
    }
}

impl Part {
    fn range(&self, asked: &[u8]) -> Vec<u8> {
        let mut answer = field(1, &header());
        // Everything that sorts behind the chunks.
        if asked.windows(7).any(|window| window == b".blobs0") {
            let kv = [
                field(1, self.key.as_bytes()),
                number(2, REVISION),
                number(3, REVISION),
                number(4, 1),
                field(5, self.document.as_bytes()),
            ];
            answer.extend(field(2, &kv.concat()));
            answer.extend(number(4, 1));
        }
        answer
    }

    async fn watch(&self, asked: &mut RecvStream, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        let is_first = self.watches.fetch_add(1, Relaxed) == 0;
        let says = |more: &[Vec<u8>]| frame(&[vec![field(1, &header())], more.to_vec()].concat().concat());
        stream.send_data(says(&[number(3, 1)]), false)?;
        match self.how {
            Misbehaviour::Closes if is_first => return end(stream, "0"),
            Misbehaviour::IsCancelled if is_first => {
                let reason = field(6, b"etcdserver: the watch is not wanted");
                stream.send_data(says(&[number(4, 1), reason]), false)?;
            }
            _ => {}
        }
        let mut questions = 0;
        while let Some(message) = asked.data().await {
            let length = message?.len();
            drop(asked.flow_control().release_capacity(length));
            questions += 1;
            // The first one opened the watch.
            if questions > 1 && !(is_first && self.how == Misbehaviour::FallsSilent) {
                stream.send_data(says(&[number(2, u64::MAX)]), false)?;
            }
        }
        Ok(())
    }
}

fn end(stream: &mut SendStream<Bytes>, status: &'static str) -> Result<(), h2::Error> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    stream.send_trailers(trailers)
}

fn header() -> Vec<u8> {
    [number(1, 1), number(2, 1), number(3, REVISION), number(4, 1)].concat()
}

/// A message as gRPC frames it.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(&[0][..]);
    frame.extend_from_slice(&u32::try_from(message.len()).expect("a small message").to_be_bytes());
    frame.extend_from_slice(message);
    frame.freeze()
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
