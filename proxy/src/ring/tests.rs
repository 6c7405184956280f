//! A ring and real sockets: what comes, what goes, and how both end.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    time::timeout,
};

use super::{Ring, Stream};

const DEADLINE: Duration = Duration::from_secs(10);

// Runs on a ring of its own with a stream on it and the other end of that.
fn with<F: Future<Output = ()>>(run: impl FnOnce(Ring, Stream, TcpStream) -> F) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let ring = Ring::start().unwrap();
        let (stream, other) = pair(&ring).await;
        timeout(DEADLINE, run(ring, stream, other)).await.unwrap();
    });
}

async fn pair(ring: &Ring) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ring.adopt(listener.accept().await.unwrap().0).unwrap(), other)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

// Until nothing more goes, so that something waits in the kernel as well.
async fn fill(stream: &mut Stream) {
    let more = pattern(10_000);
    while timeout(Duration::from_millis(200), stream.write_all(&more)).await.is_ok() {}
}

async fn reset(other: &TcpStream) {
    let error = loop {
        match other.take_error().unwrap() {
            Some(error) => break error,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn what_is_sent_to_it_comes_and_what_is_written_goes() {
    with(async |_ring, mut stream, mut other| {
        for round in 0..1000_u32 {
            other.write_all(&round.to_be_bytes()).await.unwrap();
            assert_eq!(stream.read_u32().await.unwrap(), round);
            stream.write_all(&round.to_le_bytes()).await.unwrap();
            assert_eq!(other.read_u32_le().await.unwrap(), round);
        }
    });
}

#[test]
fn an_end_is_told_after_what_came_and_nothing_is_lost_that_was_written_before_one() {
    with(async |_ring, mut stream, mut other| {
        other.write_all(b"last words").await.unwrap();
        other.shutdown().await.unwrap();
        let mut came = Vec::new();
        stream.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"last words");
        // Half of it is open still.
        stream.write_all(b"an answer").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut answer = Vec::new();
        other.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"an answer");
    });
}

#[test]
fn dropped_it_sends_what_was_written_and_then_closes() {
    with(async |_ring, mut stream, mut other| {
        let sent = pattern(10_000);
        stream.write_all(&sent).await.unwrap();
        drop(stream);
        let mut came = Vec::new();
        other.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, sent);
    });
}

#[test]
fn broken_off_it_is_reset_whatever_is_on_its_way() {
    with(async |_ring, mut stream, mut other| {
        fill(&mut stream).await;
        stream.break_off().unwrap();
        drop(stream);
        let mut came = Vec::new();
        let end = other.read_to_end(&mut came).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn broken_off_it_is_reset_also_when_the_other_end_reads_nothing() {
    with(async |_ring, mut stream, other| {
        fill(&mut stream).await;
        stream.break_off().unwrap();
        drop(stream);
        reset(&other).await;
    });
}

#[test]
fn who_waits_for_room_gets_it_when_the_kernel_has_what_was_written() {
    with(async |_ring, mut stream, _other| {
        fill(&mut stream).await;
        assert_eq!(stream.line.state.borrow().outbox.len(), 64 * 1024);
    });
}

#[test]
fn of_many_that_are_dropped_and_still_send_some_are_broken_off_and_who_has_room_is_not() {
    with(async |ring, mut first, first_other| {
        fill(&mut first).await;
        drop(first);
        let mut others = vec![first_other];
        for _ in 0..4 {
            let (mut stream, other) = pair(&ring).await;
            fill(&mut stream).await;
            drop(stream);
            others.push(other);
        }
        reset(&others.pop().unwrap()).await;
        let (mut stream, mut other) = pair(&ring).await;
        stream.write_all(b"an answer").await.unwrap();
        drop(stream);
        let mut came = Vec::new();
        other.read_to_end(&mut came).await.unwrap();
        assert_eq!(came, b"an answer");
        // Those before it lose nothing, and make room when they end.
        assert!(others.iter().all(|other| other.take_error().unwrap().is_none()));
        for mut other in others {
            other.read_to_end(&mut Vec::new()).await.unwrap();
        }
        let (mut stream, mut other) = pair(&ring).await;
        fill(&mut stream).await;
        drop(stream);
        other.read_to_end(&mut Vec::new()).await.unwrap();
    });
}

#[test]
fn little_pieces_that_nobody_reads_take_little_memory_and_come_in_order() {
    with(async |_ring, mut stream, mut other| {
        other.set_nodelay(true).unwrap();
        let sent = pattern(500);
        for (at, byte) in sent.iter().enumerate() {
            other.write_u8(*byte).await.unwrap();
            while at > 0 && stream.line.state.borrow().inbox_bytes <= at {
                tokio::task::yield_now().await;
            }
            if at == 0 {
                // Asks for what comes.
                assert_eq!(stream.read(&mut []).await.unwrap(), 0);
            }
        }
        assert!(stream.line.state.borrow().inbox.len() <= 2);
        let mut came = vec![0; sent.len()];
        // In two steps, of which the first ends in the midst of what was copied.
        stream.read_exact(&mut came[..300]).await.unwrap();
        other.write_all(&sent).await.unwrap();
        stream.read_exact(&mut came[300..]).await.unwrap();
        assert_eq!(came, sent);
        stream.read_exact(&mut came).await.unwrap();
        assert_eq!(came, sent);
    });
}

#[test]
fn who_sends_what_nobody_reads_is_held_up_and_all_of_it_comes_in_the_end() {
    with(async |ring, mut stream, mut other| {
        let all = pattern(4_000_000);
        let sent = all.clone();
        let sending = tokio::task::spawn_local(async move { other.write_all(&sent).await.map(|()| other) });
        let mut came = vec![0; all.len() / 2];
        stream.read_exact(&mut came).await.unwrap();
        // Others are served meanwhile.
        let (mut another, mut end) = pair(&ring).await;
        end.write_all(b"hello").await.unwrap();
        another.read_exact(&mut [0; 5]).await.unwrap();
        let mut rest = vec![0; all.len() - came.len()];
        stream.read_exact(&mut rest).await.unwrap();
        came.extend(rest);
        assert_eq!(came, all);
        drop(sending.await.unwrap().unwrap());
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn it_is_quiet_until_something_comes_or_the_other_end_goes() {
    with(async |_ring, mut stream, mut other| {
        let quiet = |stream: &Stream| stream.is_quiet();
        other.write_all(b"1").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'1');
        assert!(quiet(&stream));
        drop(other);
        while quiet(&stream) {
            tokio::task::yield_now().await;
        }
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    });
}

#[test]
fn a_runtime_that_ends_with_everything_under_way_frees_it() {
    for _ in 0..20 {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let handle = runtime.handle().clone();
        let (ring, mut other) = runtime.block_on(async {
            let ring = Ring::start().unwrap();
            let (mut stream, mut other) = pair(&ring).await;
            other.write_all(b"unread").await.unwrap();
            tokio::task::spawn_local(async move {
                let more = pattern(10_000);
                while stream.write_all(&more).await.is_ok() {}
            });
            tokio::task::yield_now().await;
            let (mut last, end) = pair(&ring).await;
            last.write_all(b"last words").await.unwrap();
            (ring, end.into_std().unwrap())
        });
        let _inside = handle.enter();
        drop(runtime);
        drop(ring);
        other.set_nonblocking(false).unwrap();
        let mut came = Vec::new();
        other.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"last words");
    }
}

#[test]
fn a_refusal_says_what_to_look_at() {
    let told = |error: rustix::io::Errno| super::explain(error.into()).to_string();
    assert!(told(rustix::io::Errno::PERM).contains("kernel.io_uring_disabled"));
    assert!(told(rustix::io::Errno::INVAL).contains("Linux 6.1"));
    assert!(told(rustix::io::Errno::NOMEM).contains("ulimit -l"));
}
