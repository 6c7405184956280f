//! Opening the sockets of one listener. Knows nothing of who accepts on them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one listener, non-blocking, one for each worker, all on the same port.
#[derive(Debug)]
pub struct Bound {
    /// The address with its real port, also where port 0 was asked for.
    pub address: SocketAddr,
    /// One for each worker.
    pub sockets: Vec<TcpListener>,
}

/// Opens `address` for `workers` workers. Port 0 picks a free port, the same one for all. An IPv6 address serves IPv6
/// only (`IPV6_V6ONLY`), so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// When the address is not this machine's, needs a privilege, or is held by anybody else: also by a process that
/// would share it (`SO_REUSEPORT`), because half of the connections would then silently go elsewhere.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    // The first socket is bound without SO_REUSEPORT, so that the kernel refuses a port that somebody holds, and
    // shares it only then: the others join it, and the port is never free in between.
    let first = open(address)?;
    first.bind(&address.into()).map_err(|error| explain(address, error))?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        let next = open(address)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into()).map_err(|error| explain(address, error))?;
        sockets.push(next);
    }
    let listening = sockets.into_iter().map(|socket| {
        socket.listen(BACKLOG).map_err(|error| explain(address, error))?;
        Ok(socket.into())
    });
    Ok(Bound { address, sockets: listening.collect::<io::Result<_>>()? })
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier process that linger in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn explain(address: SocketAddr, error: io::Error) -> io::Error {
    let next_step = match error.kind() {
        io::ErrorKind::AddrInUse => "another process or listener holds it; stop that one or choose another port",
        io::ErrorKind::AddrNotAvailable => "it is not an address of this machine",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "see the cause",
    };
    io::Error::new(error.kind(), format!("cannot listen on {address}: {next_step} ({error})"))
}

// Connections that wait to be accepted, for each socket; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_the_port_that_was_picked() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let bound = bind(address.parse().unwrap(), 3).unwrap();
            assert_ne!(bound.address.port(), 0);
            assert!(bound.sockets.iter().all(|socket| socket.local_addr().unwrap() == bound.address));
            assert_eq!(bound.sockets.len(), 3);
        }
    }

    #[test]
    fn a_port_that_somebody_holds_is_refused_even_if_they_would_share_it() {
        let held = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let error = bind(held.address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("choose another port"), "{error}");
        let address = held.address;
        drop(held);
        bind(address, 2).unwrap();
    }
}
