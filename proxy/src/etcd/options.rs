//! How etcd is reached: addresses, TLS, a user, and how long anything may take. Holds settings only.

use std::{fmt, path::PathBuf, time::Duration};

/// How etcd is reached. `Options::default()` has no endpoint and the timings that an operator who writes nothing gets.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://host:2379`, `https://host:2379`, or `host:2379`, which is TLS if [`Options::tls`] is set.
    pub endpoints: Vec<String>,
    /// For `https` endpoints; the certificates that the system trusts where `None`.
    pub tls: Option<Tls>,
    /// Who we are, where etcd asks for it.
    pub user: Option<User>,
    /// For a connection, its TLS handshake included.
    pub dial_timeout: Duration,
    /// For the answer to one request.
    pub request_timeout: Duration,
    /// How a connection whose other end is gone is noticed while a stream is open on it.
    pub keep_alive: KeepAlive,
    /// Between two readings of the list of members; `ZERO` keeps to the endpoints given.
    pub sync_interval: Duration,
    /// The largest answer that is taken, in bytes; a larger one is an error.
    pub answer_bytes_max: usize,
}

/// Files for TLS, PEM. They are read anew for every connection, so a rotated certificate needs no restart.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who signs the members' certificates; those that the system trusts where `None`.
    pub ca: Option<PathBuf>,
    /// Our certificate, where etcd asks for one; needs the key.
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
    /// The name that the members' certificates must carry; the endpoint's host where `None`.
    pub domain: Option<String>,
}

/// A user of etcd. Its password is never printed.
#[derive(Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Password,
}

/// Where a password is.
#[derive(Clone)]
pub enum Password {
    /// Here.
    Text(String),
    /// In a file, which is read for every authentication; a line end at its end is not part of it.
    File(PathBuf),
}

/// HTTP/2 pings on connections that have a stream open. etcd ends connections that ping more often than its
/// `--grpc-keepalive-min-time` (5 s unless set).
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// Between two pings.
    pub interval: Duration,
    /// For the answer to one.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            user: None,
            dial_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(3),
            // Together below 10 s: then a half-open connection has been noticed.
            keep_alive: KeepAlive { interval: Duration::from_secs(6), timeout: Duration::from_secs(3) },
            sync_interval: Duration::from_secs(30),
            answer_bytes_max: 64 << 20,
        }
    }
}

impl Options {
    /// The endpoints as URLs.
    pub(super) fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = |endpoint: &String| match endpoint.trim().trim_end_matches('/') {
            url if url.contains("://") => url.to_owned(),
            address => format!("{scheme}://{address}"),
        };
        self.endpoints.iter().map(url).collect()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({})", self.name)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Password(***)"),
            Self::File(path) => write!(f, "Password(file {})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_without_a_scheme_take_the_one_that_fits() {
        let endpoints = vec!["a:2379".to_owned(), "http://b:2379/".to_owned(), " https://c:2379".to_owned()];
        let mut options = Options { endpoints, ..Options::default() };
        assert_eq!(options.urls(), ["http://a:2379", "http://b:2379", "https://c:2379"]);
        options.tls = Some(Tls::default());
        assert_eq!(options.urls()[0], "https://a:2379");
    }

    #[test]
    fn passwords_are_not_printed() {
        let user = User { name: "gateway".to_owned(), password: Password::Text("secret".to_owned()) };
        let printed = format!("{user:?} {:?}", user.password);
        assert!(printed.contains("gateway") && !printed.contains("secret"), "{printed}");
    }
}
