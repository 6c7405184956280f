//! A ring and real sockets: what comes, what goes, and how both end.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
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
        // Until nothing more goes, so that something waits in the kernel as well.
        let more = pattern(10_000);
        while timeout(Duration::from_millis(200), stream.write_all(&more)).await.is_ok() {}
        stream.break_off().unwrap();
        drop(stream);
        let mut came = Vec::new();
        let end = other.read_to_end(&mut came).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn broken_off_it_is_reset_though_the_other_end_takes_nothing() {
    with(async |_ring, mut stream, other| {
        let more = pattern(8192);
        // Until nothing is taken any more.
        while timeout(Duration::from_millis(300), stream.write_all(&more)).await.is_ok() {}
        stream.break_off().unwrap();
        drop(stream);
        other.ready(Interest::ERROR).await.unwrap();
        assert_eq!(other.take_error().unwrap().unwrap().kind(), io::ErrorKind::ConnectionReset);
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
