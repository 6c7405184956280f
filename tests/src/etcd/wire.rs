//! A wire between two processes: connections pass through it until it is cut, for everyone or for one member of a
//! cluster, who is told by what etcd's members say of themselves when they connect. Cut connections end.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Whose connections are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All.
    Everyone,
    /// Those of the member with this number.
    Member(String),
}

/// A wire to one address.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    cut: Arc<watch::Sender<Option<Whom>>>,
    silent: Arc<Mutex<Vec<TcpStream>>>,
    task: JoinHandle<()>,
}

/// How much of a connection's first request is looked at.
const HEAD_BYTES: usize = 4096;

impl Wire {
    /// A wire to `target`, at an address of its own.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cut = Arc::new(watch::channel(None).0);
        let silent = Arc::<Mutex<Vec<TcpStream>>>::default();
        let task = tokio::spawn(accept(listener, target, Arc::clone(&cut), Arc::clone(&silent)));
        Self { address, cut, silent, task }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends connections, and lets no new ones through: they are taken, and nothing answers.
    pub fn cut(&self, from: Whom) {
        self.cut.send_replace(Some(from));
    }

    /// Lets everyone through again.
    pub fn mend(&self) {
        self.cut.send_replace(None);
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    cut: Arc<watch::Sender<Option<Whom>>>,
    silent: Arc<Mutex<Vec<TcpStream>>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let (mut cut, silent) = (cut.subscribe(), Arc::clone(&silent));
        tokio::spawn(async move {
            let from = sender(&socket).await;
            let is_cut = |cut: &Option<Whom>| match cut {
                None => false,
                Some(Whom::Everyone) => true,
                Some(Whom::Member(id)) => from.as_deref() == Some(id),
            };
            if is_cut(&cut.borrow()) {
                silent.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
                return;
            }
            tokio::select! {
                () = pass(socket, target) => {}
                _ = cut.wait_for(is_cut) => {}
            }
        });
    }
}

async fn pass(mut from: TcpStream, target: SocketAddr) {
    if let Ok(mut to) = TcpStream::connect(target).await {
        drop(to.set_nodelay(true));
        drop(from.set_nodelay(true));
        drop(copy_bidirectional(&mut from, &mut to).await);
    }
}

/// The member that opened a connection, by the field `X-Server-From` of its first request.
async fn sender(socket: &TcpStream) -> Option<String> {
    let mut head = vec![0; HEAD_BYTES];
    let peeked = async {
        let filled = socket.peek(&mut head).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..filled]).to_ascii_lowercase();
        let field = head.split("x-server-from:").nth(1)?;
        Some(field.split("\r\n").next()?.trim().to_owned())
    };
    // Who does not speak first is no member.
    tokio::time::timeout(Duration::from_secs(1), peeked).await.ok()?
}
