//! Admin: the endpoints by which an operator sees and steers a running gateway, over loopback TCP and over a Unix
//! socket. Knows [`Control`] and not how a reload works; hyper is named in `http` alone.

mod address;
mod api;
mod control;
mod guard;
mod http;
mod query;
mod socket;
mod tree;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::task::JoinHandle;

pub use self::{
    address::Address,
    control::{Ask, Control, ExplainedStep, ExplainedTarget, Explanation},
};
use self::{api::Api, guard::Guard, socket::Unlink};
use crate::config::spec::{Process, Secret};

/// Where the admin endpoints are, and who may do what.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The TCP address, if there is one.
    pub address: Option<SocketAddr>,
    /// The Unix socket, if there is one. Made with mode 0600: whoever may open it may do everything.
    pub socket: Option<PathBuf>,
    /// Whoever shows it as a bearer token may do everything.
    pub token: Option<Secret>,
    /// Whether anyone on this machine may do everything over TCP.
    pub trust_loopback: bool,
}

/// The running endpoints; dropped, they end.
#[derive(Debug)]
pub struct Admin {
    address: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    _socket: Option<Unlink>,
}

/// The TCP address where nothing says otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);

impl Settings {
    /// The settings of a process: what the command line says goes before what the documents say. `quickstart` is a
    /// process without configuration.
    ///
    /// # Errors
    /// In words, where the address is reachable from other machines and no token is configured.
    pub fn new(flag: Option<&Address>, process: &Process, quickstart: bool) -> Result<Self, String> {
        let documents = process.admin.is_some() || process.admin_socket.is_some();
        let mut settings = Self {
            address: process.admin.or_else(|| (!documents).then_some(DEFAULT_ADDRESS)),
            socket: process.admin_socket.as_ref().map(PathBuf::from),
            token: process.admin_token.clone(),
            trust_loopback: process.admin_trust_loopback.unwrap_or(quickstart),
        };
        match flag {
            None => {}
            Some(Address::Tcp(address)) => {
                settings.address = Some(*address);
                let here = address.ip().is_loopback();
                settings.trust_loopback = process.admin_trust_loopback.unwrap_or(quickstart || here);
            }
            Some(Address::Unix(path)) => {
                settings.socket = Some(path.clone());
                settings.address = process.admin;
            }
        }
        settings.checked()
    }

    fn checked(self) -> Result<Self, String> {
        match self.address {
            Some(address) if !address.ip().is_loopback() && self.token.is_none() => Err(format!(
                "the admin address {address} can be reached from other machines: configure `admin: {{token: …}}`, or \
                 use a loopback address or a Unix socket"
            )),
            _ => Ok(self),
        }
    }
}

impl Admin {
    /// Opens the endpoints. To be called on the control plane's runtime.
    ///
    /// # Errors
    /// Where an address or socket cannot be bound, or is held by another process; the message names it.
    pub async fn start(settings: Settings, control: Arc<dyn Control>) -> io::Result<Self> {
        let settings = settings.checked().map_err(io::Error::other)?;
        let guard = Guard::new(settings.token.as_ref(), settings.trust_loopback);
        let api = Arc::new(Api::new(control, guard));
        let mut admin = Self { address: None, tasks: Vec::new(), _socket: None };
        if let Some(address) = settings.address {
            let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on the admin address {address}: {error}"))
            })?;
            let address = listener.local_addr()?;
            if settings.trust_loopback {
                tracing::info!(%address, "anyone on this machine may change things here (admin: trust-loopback)");
            }
            admin.address = Some(address);
            admin.tasks.push(tokio::spawn(http::serve_tcp(listener, Arc::clone(&api))));
        }
        if let Some(path) = settings.socket {
            let (listener, unlink) = socket::bind(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on the admin socket {}: {error}", path.display()))
            })?;
            admin._socket = Some(unlink);
            admin.tasks.push(tokio::spawn(http::serve_unix(listener, api)));
        }
        Ok(admin)
    }

    /// The TCP address, its port the one that was given where 0 was asked for.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests;
