//! Opening the sockets of one listener. Knows nothing of who accepts on them.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// The sockets of one listener, non-blocking, one for each worker, all on the same port.
#[derive(Debug)]
pub struct Bound {
    /// The address with its real port, also where port 0 was asked for.
    pub address: SocketAddr,
    /// One for each worker.
    pub sockets: Sockets,
}

/// Sockets of one kind.
#[derive(Debug)]
pub enum Sockets {
    /// For connections over TCP.
    Tcp(Vec<TcpListener>),
    /// For connections over QUIC.
    Udp(Vec<UdpSocket>),
}

/// What connections come over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// HTTP/1.1 and HTTP/2.
    Tcp,
    /// QUIC: HTTP/3.
    Udp,
}

/// Opens `address` for `workers` workers. Port 0 picks a free port, the same one for all. An IPv6 address serves IPv6
/// only (`IPV6_V6ONLY`), so that `0.0.0.0` and `[::]` can stand side by side.
///
/// # Errors
/// When the address is not this machine's, needs a privilege, or is held by anybody else: also by a process that
/// would share it (`SO_REUSEPORT`), because half of the connections would then silently go elsewhere.
pub fn bind(address: SocketAddr, transport: Transport, workers: usize) -> io::Result<Bound> {
    // The first socket is bound without SO_REUSEPORT, so that the kernel refuses a port that somebody holds, and
    // shares it only then: the others join it, and the port is never free in between.
    let first = open(address, transport)?;
    first.bind(&address.into()).map_err(|error| explain(address, error))?;
    first.set_reuse_port(true)?;
    let address = first.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        let next = open(address, transport)?;
        next.set_reuse_port(true)?;
        next.bind(&address.into()).map_err(|error| explain(address, error))?;
        sockets.push(next);
    }
    let sockets = match transport {
        Transport::Tcp => {
            let listening = sockets.into_iter().map(|socket| {
                // What is accepted inherits it, which saves each connection a call.
                socket.set_tcp_nodelay(true)?;
                socket.listen(BACKLOG).map_err(|error| explain(address, error))?;
                Ok(socket.into())
            });
            Sockets::Tcp(listening.collect::<io::Result<_>>()?)
        }
        Transport::Udp => Sockets::Udp(sockets.into_iter().map(UdpSocket::from).collect()),
    };
    Ok(Bound { address, sockets })
}

fn open(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    // Connections of an earlier process that linger in TIME_WAIT do not hold the port. For UDP it would share it.
    socket.set_reuse_address(transport == Transport::Tcp)?;
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

    fn addresses(bound: &Bound) -> Vec<SocketAddr> {
        match &bound.sockets {
            Sockets::Tcp(sockets) => sockets.iter().map(|socket| socket.local_addr().unwrap()).collect(),
            Sockets::Udp(sockets) => sockets.iter().map(|socket| socket.local_addr().unwrap()).collect(),
        }
    }

    #[test]
    fn all_workers_share_the_port_that_was_picked() {
        for transport in [Transport::Tcp, Transport::Udp] {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let bound = bind(address.parse().unwrap(), transport, 3).unwrap();
                assert_ne!(bound.address.port(), 0);
                assert_eq!(addresses(&bound), [bound.address; 3]);
            }
        }
    }

    #[test]
    fn what_is_accepted_sends_small_pieces_at_once() {
        let Sockets::Tcp(sockets) = bind("127.0.0.1:0".parse().unwrap(), Transport::Tcp, 1).unwrap().sockets else {
            panic!()
        };
        let _client = std::net::TcpStream::connect(sockets[0].local_addr().unwrap()).unwrap();
        sockets[0].set_nonblocking(false).unwrap();
        assert!(sockets[0].accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_port_that_somebody_holds_is_refused_even_if_they_would_share_it() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let held = bind("127.0.0.1:0".parse().unwrap(), transport, 2).unwrap();
            let error = bind(held.address, transport, 1).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains("choose another port"), "{error}");
            let address = held.address;
            drop(held);
            bind(address, transport, 2).unwrap();
        }
    }

    #[test]
    fn datagrams_of_one_sender_reach_one_worker() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), Transport::Udp, 2).unwrap();
        let Sockets::Udp(sockets) = bound.sockets else { panic!() };
        let mut reached = [0, 0];
        for _ in 0..64 {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            (0..4).for_each(|_| assert_eq!(sender.send_to(b"x", bound.address).unwrap(), 1));
            let counts = [0, 1].map(|at: usize| (0..).take_while(|_| sockets[at].recv(&mut [0]).is_ok()).count());
            assert!(counts == [4, 0] || counts == [0, 4], "{counts:?}");
            (0..2).for_each(|at| reached[at] += counts[at]);
        }
        assert!(reached.iter().all(|count| *count > 0), "{reached:?}");
    }
}
