//! A component of `wasi:http` that does what the first segment of its path says: what the suite `wasi_http` needs to see,
//! the ill-behaved included.

mod ill;
mod keyvalue;
mod proxy;
mod write;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use wasip2::{
    cli::{environment, exit, stderr, stdout},
    clocks::monotonic_clock,
    exports::http::incoming_handler::Guest,
    http::types::{ErrorCode, IncomingRequest, Method, ResponseOutparam, Scheme},
};

use self::write::{answer, fields, text};

mod config {
    //! The draft of `wasi:config` that is in use.
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({
        inline: "
            package wasi:config@0.2.0-rc.1;
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
            world configured { import store; }
        ",
    });
}

struct Probe;

wasip2::http::proxy::export!(Probe);

impl Guest for Probe {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (does, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_owned());
        match does {
            "hello" => text(out, 200, "Hello, WASI!"),
            "seen" => text(out, 200, &seen(&request)),
            "status" => text(out, rest.parse().unwrap_or(500), "as asked"),
            "count" => {
                static COUNT: AtomicU32 = AtomicU32::new(0);
                text(out, 200, &(COUNT.fetch_add(1, Relaxed) + 1).to_string());
            }
            "environment" => {
                let lines = environment::get_environment().into_iter().map(|(name, value)| format!("{name}={value}"));
                text(out, 200, &lines.collect::<Vec<_>>().join("\n"));
            }
            "config" => text(out, 200, &format!("{:?}", config::wasi::config::store::get(&rest))),
            "kept" => text(out, 200, &keyvalue::keep(&rest)),
            "clock" => {
                let began = monotonic_clock::now();
                monotonic_clock::subscribe_duration(1_000_000).block();
                let random = wasip2::random::random::get_random_bytes(16);
                let passed = monotonic_clock::now() - began >= 1_000_000;
                text(out, 200, &format!("{passed} {} {}", random.len(), random.iter().any(|byte| *byte != 0)));
            }
            "old" => old(out),
            "print" => print(out, &rest),
            "machine" => text(out, 200, &machine()),
            "fields" => text(out, 200, &write::refused()),
            "echo" => proxy::echo(request, out),
            "length" => proxy::length(request, out),
            "next" | "upgrade" | "chunks" => proxy::forward(request, out, proxy::own),
            "named" => proxy::forward(request, out, |_| (Scheme::Http, "next".into())),
            "to" => proxy::forward(request, out, proxy::named),
            "twice" => proxy::twice(&request, out),
            "many" => proxy::many(&request, out, &rest),
            "slow" => proxy::slow(&request, out),
            "error" => ResponseOutparam::set(out, Err(ErrorCode::InternalError(Some("of its own".into())))),
            "exit" => {
                if rest == "after" {
                    text(out, 200, "said");
                    exit::exit(Ok(()));
                }
                exit::exit(if rest == "well" { Ok(()) } else { Err(()) });
            }
            _ => ill::handle(does, &rest, request, out),
        }
    }
}

fn seen(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Get => "GET".into(),
        Method::Post => "POST".into(),
        Method::Other(other) => other,
        other => format!("{other:?}"),
    };
    let scheme = if matches!(request.scheme(), Some(Scheme::Https)) { "https" } else { "http" };
    let authority = request.authority().unwrap_or_default();
    let target = request.path_with_query().unwrap_or_default();
    let mut lines = vec![format!("{method} {scheme}://{authority}{target}")];
    let fields = request.headers().entries().into_iter();
    lines.extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(&value))));
    lines.join("\n")
}

fn print(out: ResponseOutparam, count: &str) {
    let (normal, errors) = (stdout::get_stdout(), stderr::get_stderr());
    if let Ok(count) = count.parse::<u32>() {
        for number in 0..count {
            normal.blocking_write_and_flush(format!("line {number}\n").as_bytes()).expect("it is open");
        }
    } else {
        normal.blocking_write_and_flush(b"to stan").expect("it is open");
        normal.blocking_write_and_flush(b"dard output\nand no end").expect("it is open");
        errors.blocking_write_and_flush(b"to standard error\n").expect("it is open");
    }
    text(out, 200, "printed");
}

// Prints as toolchains for WASI preview 1 do: the gateway puts it in terms of 0.2.
fn old(out: ResponseOutparam) {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn fd_write(descriptor: i32, parts: *const [usize; 2], count: usize, written: *mut usize) -> i32;
    }
    let line = "by preview 1\n";
    let (part, mut written) = ([line.as_ptr() as usize, line.len()], 0);
    // SAFETY: `part` is the address and the length of `line`, and there is one of them.
    let status = unsafe { fd_write(1, &raw const part, 1, &raw mut written) };
    text(out, 200, &format!("{status} {written}"));
}

// What there is of the machine: nothing.
fn machine() -> String {
    use wasip2::sockets::{instance_network, ip_name_lookup, network::IpAddressFamily, tcp_create_socket};
    let files = wasip2::filesystem::preopens::get_directories().len();
    let network = instance_network::instance_network();
    let names = ip_name_lookup::resolve_addresses(&network, "localhost").map(|_| "names").unwrap_or("no names");
    let socket = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        let loopback = wasip2::sockets::network::Ipv4SocketAddress { port: 80, address: (127, 0, 0, 1) };
        socket.start_connect(&network, wasip2::sockets::network::IpSocketAddress::Ipv4(loopback))
    });
    let sockets = if socket.is_ok() { "sockets" } else { "no sockets" };
    format!("{files} directories, {names}, {sockets}")
}

pub(crate) fn chunk(out: ResponseOutparam, headers: &[(&str, &str)]) -> write::Writing {
    answer(out, 200, fields(headers))
}
