//! Open-loop load: requests leave at a fixed rate whether or not those before are answered, as those of many clients do, and a
//! latency counts from when its request was to leave (a server that stalls is not asked less for it). HTTP/1.1, kept alive.
//!
//! This thread waits for nobody, so a long time between two of its looks at the clock is its own: the machine gave its core to
//! something else. What such a pause touched, until what piled up is answered, says nothing of what is measured; it is counted apart, and
//! shown.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::yield_now,
    time::timeout,
};

use crate::{
    load::CONNECTIONS,
    report::percentile,
    speech::{HOST, head},
};

/// Most connections open at once; a request that finds none free waits for one, which is part of its latency.
const CONNECTIONS_MAX: usize = 512;
/// After which a request that is not answered has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at the clock: more than it takes to serve all that can be ready at once.
const PAUSE: Duration = Duration::from_millis(3);

/// What became of the requests of one span.
#[derive(Default)]
pub(crate) struct Lap {
    /// Of each answered one, in µs, from when it was to leave.
    pub(crate) latencies_us: Vec<f64>,
    /// How many were answered, disturbed or not.
    pub(crate) answered: u64,
    /// How many were answered with anything but a 200, or not at all.
    pub(crate) failed: u64,
    /// How many were under way or to leave when this load itself paused, or left before what piled up was answered: they have no
    /// latency.
    pub(crate) disturbed: u64,
    /// The longest of its pauses, in ms.
    pub(crate) pause_ms: f64,
}

/// A span that is under way.
struct Course {
    lap: RefCell<Lap>,
    under_way: Cell<usize>,
    clock: Clock,
}

/// The clock of a span, which notices when nobody looked at it for long.
struct Clock {
    looked: Cell<Instant>,
    pauses: Cell<u64>,
    longest: Cell<Duration>,
    // Since a pause more were under way than a closed loop has.
    behind: Cell<bool>,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self { looked: Cell::new(now), pauses: Cell::new(0), longest: Cell::default(), behind: Cell::new(false) }
    }

    fn look(&self) -> Instant {
        let now = Instant::now();
        let gap = now - self.looked.replace(now);
        if gap > PAUSE {
            self.pauses.set(self.pauses.get() + 1);
            self.behind.set(true);
            self.longest.set(self.longest.get().max(gap));
        }
        now
    }
}

impl Course {
    fn new() -> Rc<Self> {
        Rc::new(Self { lap: RefCell::default(), under_way: Cell::new(0), clock: Clock::new(Instant::now()) })
    }

    /// Waits for what is under way.
    async fn end(&self) -> Lap {
        while self.under_way.get() > 0 {
            self.clock.look();
            yield_now().await;
        }
        Lap { pause_ms: self.clock.longest.get().as_secs_f64() * 1e3, ..self.lap.take() }
    }
}

impl Lap {
    /// The latency in µs that `percent` are not above.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        percentile(percent, self.latencies_us.iter().copied())
    }

    /// Adds those of another span.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.answered += other.answered;
        self.failed += other.failed;
        self.disturbed += other.disturbed;
        self.pause_ms = self.pause_ms.max(other.pause_ms);
    }
}

/// A load on one address, whose connections stay open from span to span.
pub(crate) struct Open {
    address: SocketAddr,
    request: Rc<[u8]>,
    // The one that was used longest ago comes first: none is idle for so long that its server closes it.
    idle: Rc<RefCell<VecDeque<TcpStream>>>,
    slots: Rc<Semaphore>,
}

impl Open {
    /// One that asks `address` for `path`, with `fields` (each line with its end) besides.
    pub(crate) fn new(address: SocketAddr, path: &str, fields: &str) -> Self {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: bench\r\naccept: */*\r\n{fields}\r\n");
        let slots = Rc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { address, request: request.into_bytes().into(), idle: Rc::default(), slots }
    }

    /// Asks `per_second` times a second for `span`, and waits for the answers.
    pub(crate) async fn lap(&self, per_second: f64, span: Duration) -> Lap {
        let course = Course::new();
        let (began, clock) = (Instant::now(), &course.clock);
        let interval = Duration::from_secs_f64(1.0 / per_second);
        let mut next = began;
        while next < began + span {
            while next > clock.look() {
                // The timer is too coarse for that, and this thread has nothing else to do.
                yield_now().await;
            }
            if clock.looked.get() - next > PAUSE {
                // They were to leave meanwhile; all of them at once is not what was asked for.
                let missed = (clock.looked.get() - next).div_duration_f64(interval) as u32;
                course.lap.borrow_mut().disturbed += u64::from(missed);
                next += interval * missed;
            }
            if course.under_way.get() <= CONNECTIONS {
                clock.behind.set(false);
            }
            self.leave(next, &course);
            next += interval;
        }
        course.end().await
    }

    /// The requests a second that are answered where [`CONNECTIONS`] of them are always under way: what both sides can do, this one
    /// in the way that [`Self::lap`] asks.
    pub(crate) async fn most(&self, span: Duration) -> f64 {
        let course = Course::new();
        let began = Instant::now();
        while began.elapsed() < span {
            while course.under_way.get() < CONNECTIONS {
                self.leave(course.clock.look(), &course);
            }
            yield_now().await;
        }
        course.end().await.answered as f64 / began.elapsed().as_secs_f64()
    }

    /// Sends one request, which was to leave at `due`.
    fn leave(&self, due: Instant, course: &Rc<Course>) {
        course.under_way.set(course.under_way.get() + 1);
        let (pauses, behind) = (course.clock.pauses.get(), course.clock.behind.get());
        let (asked, course) = (self.ask(), Rc::clone(course));
        tokio::task::spawn_local(async move {
            let answered = timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let latency = course.clock.look().saturating_duration_since(due);
            let mut lap = course.lap.borrow_mut();
            lap.answered += u64::from(answered.is_ok());
            match answered {
                Ok(()) if behind || course.clock.pauses.get() > pauses => lap.disturbed += 1,
                Ok(()) => lap.latencies_us.push(latency.as_secs_f64() * 1e6),
                Err(error) => {
                    if lap.failed == 0 {
                        eprintln!("bench: a request failed: {error}");
                    }
                    lap.failed += 1;
                }
            }
            course.under_way.set(course.under_way.get() - 1);
        });
    }

    fn ask(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let (address, request) = (self.address, Rc::clone(&self.request));
        let (idle, slots) = (Rc::clone(&self.idle), Rc::clone(&self.slots));
        async move {
            let _slot = slots.acquire().await.map_err(io::Error::other)?;
            let free = idle.borrow_mut().pop_front();
            let mut socket = match free {
                Some(socket) => socket,
                None => {
                    let socket = TcpStream::connect(address).await?;
                    socket.set_nodelay(true)?;
                    socket
                }
            };
            exchange(&mut socket, &request).await?;
            idle.borrow_mut().push_back(socket);
            Ok(())
        }
    }
}

async fn exchange(socket: &mut TcpStream, request: &[u8]) -> io::Result<()> {
    socket.write_all(request).await?;
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let read = socket.read(&mut buffer[filled..]).await?;
        filled += read;
        match head(&buffer[..filled])? {
            Some((head, body)) if filled >= head + body => return Ok(()),
            _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn more_than_there_are_connections_wait_for_one_and_all_are_answered() {
        load::beside_an_origin(async |origin| {
            let load = Open::new(origin, "/", "");
            assert!(load.most(Duration::from_millis(20)).await > 0.0);
            // All are due at once, as good as.
            let lap = load.lap(1e6, Duration::from_millis(4)).await;
            assert_eq!(lap.failed, 0);
            assert!(lap.answered > 0 && lap.answered >= lap.latencies_us.len() as u64);
            assert!(load.idle.borrow().len() <= CONNECTIONS_MAX);
            assert_eq!(load.slots.available_permits(), CONNECTIONS_MAX);
        });
    }
}
