//! An io_uring for a worker, and sockets whose bytes go over it: the kernel is told of many reads and writes with one call. An
//! experiment behind a flag, of Linux alone. Must not know what the bytes mean, nor who reads and writes them.

mod buffers;
mod core;
mod kernel;
mod line;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use tokio::{net::TcpStream, time::sleep};

pub use stream::Stream;

use self::core::{Core, Driver};

/// The ring of a worker.
#[derive(Clone)]
pub struct Ring(Rc<Core>);

impl Ring {
    /// Makes one, of the calling thread, and starts the task that serves it. Must be called in that thread's own runtime.
    ///
    /// # Errors
    /// When the kernel permits none, or is too old.
    pub fn start() -> io::Result<Self> {
        let core = Rc::new(Core::new().map_err(explain)?);
        tokio::task::spawn_local(Driver::new(&core).map_err(explain)?);
        Ok(Self(core))
    }

    /// Returns when all that was written is sent, as far as others take it within a while: what is on its way when the ring
    /// ends is lost, where a socket of its own would go on sending.
    pub async fn sent(&self) {
        let until = Instant::now() + SENT_MAX;
        while self.0.is_sending() && Instant::now() < until {
            sleep(SENT_LOOK).await;
        }
    }

    /// From now on the bytes of `socket` go over the ring.
    ///
    /// # Errors
    /// The socket's.
    pub fn adopt(&self, socket: TcpStream) -> io::Result<Stream> {
        // The ring says when there is something, so nobody else need watch it.
        Ok(Stream::new(&self.0, socket.into_std()?))
    }
}

// What the kernel said, and what to do about it.
fn explain(error: io::Error) -> io::Error {
    let next = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "it is not permitted: look at the sysctl kernel.io_uring_disabled and at the seccomp profile of the container"
        }
        Some(Errno::NOSYS | Errno::INVAL) => "it takes Linux 6.1 or newer, and a kernel that was built with io_uring",
        Some(Errno::NOMEM) => "it takes memory that may be locked: look at `ulimit -l`",
        Some(Errno::MFILE | Errno::NFILE) => "it takes two descriptors a worker more: look at `ulimit -n`",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {next}"))
}

// When a worker ends, and how often it looks.
const SENT_MAX: Duration = Duration::from_secs(5);
const SENT_LOOK: Duration = Duration::from_millis(5);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}
