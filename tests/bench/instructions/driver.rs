//! What is done to the gateway that is counted: one thing after another, each when all that went before has come to rest. Its
//! client, its origin and who edits its documents are outside, and not counted.

use std::{
    cell::OnceCell,
    fs, io,
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::callgrind::{Counted, Threads};
use crate::{
    load::{self, ANSWER},
    speech::{self, Call, Io, Speech},
    steady,
};

/// What an operation is.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// A request for this path over HTTP/1.1.
    Http1(&'static str),
    /// The same over HTTP/2.
    Http2(&'static str),
    /// Another step of one route's own, in its document.
    Edit,
}

impl Act {
    const fn threads(self) -> Threads {
        match self {
            Self::Http1(_) | Self::Http2(_) => Threads::Worker,
            Self::Edit => Threads::AllButTicker,
        }
    }
}

/// A gateway under callgrind with the connections to it.
pub(super) struct Driver {
    counted: Rc<Counted>,
    http1: Box<dyn Io>,
    http2: SendRequest<Bytes>,
    edits: u64,
}

/// Of an edit that serves, under valgrind and beside other work.
const EDIT_MAX: Duration = Duration::from_secs(60);
/// Numbers of edits begin here, so that all of them are as long.
const FIRST_EDIT: u64 = 1_000_000;

impl Driver {
    /// Starts the gateway, and begins to count.
    pub(super) async fn start(gateway: &Path) -> Result<Self, String> {
        let counted: Rc<OnceCell<Rc<Counted>>> = Rc::default();
        let own = Rc::clone(&counted);
        let origin = load::serve(move |socket| answer(socket, Rc::clone(&own))).await;
        let files = files(origin);
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let subject = Rc::new(Counted::start(gateway, &files));
        let counted = Rc::clone(counted.get_or_init(|| subject));
        let address = counted.subject.address;
        let connected = async || {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            io::Result::Ok(Box::new(socket) as Box<dyn Io>)
        };
        let failed = |error: &dyn std::error::Error| format!("the gateway is not reached: {error}");
        let http1 = connected().await.map_err(|error| failed(&error))?;
        let socket = connected().await.map_err(|error| failed(&error))?;
        let (http2, connection) = speech::begin(socket).await.map_err(|error| failed(&error))?;
        tokio::task::spawn_local(connection);
        let mut driver = Self { counted, http1, http2, edits: FIRST_EDIT };
        driver.act(Act::Http1("/plain/x")).await;
        driver.counted.begin()?;
        Ok(driver)
    }

    /// Instructions of so many operations.
    pub(super) async fn run(&mut self, act: Act, times: usize) -> Result<u64, String> {
        self.counted.zero().await?;
        for _ in 0..times {
            self.counted.rest().await;
            self.act(act).await;
        }
        self.counted.count(act.threads()).await
    }

    async fn act(&mut self, act: Act) {
        let call =
            |path: &str| Call { address: self.counted.subject.address, speech: Speech::Http1, path: path.into() };
        match act {
            Act::Http1(path) => {
                let asked = call(path).http1(&mut self.http1, &mut [0; 4096]).await;
                asked.expect("the gateway answers over HTTP/1.1");
            }
            Act::Http2(path) => {
                let asked = call(path).http2(self.http2.clone()).await;
                asked.expect("the gateway answers over HTTP/2");
            }
            Act::Edit => self.edit().await,
        }
    }

    async fn edit(&mut self) {
        let (subject, end) = (&self.counted.subject, Instant::now() + EDIT_MAX);
        let before = applied(subject.folder.path());
        let number = self.edits as usize % steady::ROUTES;
        subject.place(&format!("routes/r{number}.yaml"), &steady::route(number, self.edits));
        while applied(subject.folder.path()) == before {
            assert!(Instant::now() < end, "the edit does not serve");
            sleep(Duration::from_millis(2)).await;
        }
        self.edits += 1;
    }
}

/// How many configurations served, as the gateway says itself: to ask it would be counted, too.
fn applied(folder: &Path) -> usize {
    fs::read_to_string(folder.join("output")).expect("a gateway writes a log").matches("applied").count()
}

/// Those of the bench part `steady`, and two routes more.
fn files(origin: SocketAddr) -> Vec<(String, String)> {
    let mut files = steady::files(&origin.to_string());
    let mut more = String::from("middleware:\n");
    for number in 0..3 {
        more += &format!("  q{number}: {{module: plugins/m0.wat, config: {{number: {number}}}}}\n");
    }
    more += "routes:\n  - {id: plain, path: /plain/*, upstream: origin}\n  \
             - {id: chain, path: /chain/*, upstream: origin, middleware: [q0, q1, q2]}\n";
    files.push(("more.yaml".to_owned(), more));
    files
}

/// Answers when the gateway waits for nothing else.
async fn answer(socket: TcpStream, counted: Rc<OnceCell<Rc<Counted>>>) -> io::Result<()> {
    load::each_request(socket, async |socket, _| {
        if let Some(counted) = counted.get() {
            counted.rest().await;
        }
        socket.write_all(ANSWER).await
    })
    .await
}
