//! What no component should do.

use wasip2::{
    clocks::monotonic_clock,
    http::types::{IncomingRequest, OutgoingBody, ResponseOutparam},
};

use crate::{chunk, proxy, write::text};

/// Does as `does` says; anything else is 404.
pub(crate) fn handle(does: &str, rest: &str, request: IncomingRequest, out: ResponseOutparam) {
    match does {
        "trap" => panic!("as asked"),
        "loop" => spin(),
        "bomb" => bomb(),
        "deep" => text(out, 200, &deep(u64::MAX).to_string()),
        "nothing" => {}
        "wait" => forever(),
        "ahead" => proxy::ahead(&request, out),
        "bare" => proxy::bare(out),
        // Reads of the body, and fails.
        "read-trap" => {
            let body = request.consume().expect("the first time");
            let stream = body.stream().expect("the first time");
            drop(stream.blocking_read(1));
            panic!("as asked");
        }
        // Answers, and fails in the middle of its body.
        "break" => {
            let mut writing = chunk(out, &[]);
            writing.write(b"begun").expect("somebody reads");
            match rest {
                "loop" => spin(),
                "exit" => wasip2::cli::exit::exit(Err(())),
                "abort" => drop(writing),
                _ => panic!("as asked"),
            }
        }
        "short" => {
            let mut writing = chunk(out, &[("content-length", "10")]);
            writing.write(b"abc").expect("somebody reads");
            writing.finish(None);
        }
        // Sends parts for as long as somebody reads, as many bytes as `rest` says.
        "send" => {
            let mut left: usize = rest.parse().expect("a number");
            let mut writing = chunk(out, &[]);
            let part = vec![b'x'; 64 << 10];
            while left > 0 {
                let now = left.min(part.len());
                if writing.write(&part[..now]).is_err() {
                    return;
                }
                left -= now;
            }
            writing.finish(None);
        }
        // Answers and goes on.
        "linger" => {
            text(out, 200, "done");
            if rest == "loop" { spin() } else { forever() }
        }
        "silent" => {
            let mut writing = chunk(out, &[]);
            writing.write(b"first").expect("somebody reads");
            monotonic_clock::subscribe_duration(200_000_000).block();
            drop(writing.write(b" last"));
            drop(writing.stream);
            drop(OutgoingBody::finish(writing.body, None));
        }
        _ => text(out, 404, "no such probe"),
    }
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

fn bomb() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

fn deep(left: u64) -> u64 {
    if std::hint::black_box(left) == 0 { 0 } else { deep(left - 1) + std::hint::black_box(1) }
}

fn forever() -> ! {
    loop {
        monotonic_clock::subscribe_duration(3_600_000_000_000).block();
    }
}
