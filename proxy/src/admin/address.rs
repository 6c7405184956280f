//! How an admin endpoint is named on the command line: `127.0.0.1:9901`, or `unix:/run/tidegate.sock`.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// An admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("`unix:` needs a path: unix:/run/tidegate.sock".into()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let plain = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let numeric = plain.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(plain).parse();
        address.map(Self::Tcp).map_err(|_| format!("`{text}` is neither ADDRESS:PORT (127.0.0.1:9901) nor unix:PATH"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_or_refused() {
        for (text, printed) in [
            ("127.0.0.1:9901", Some("127.0.0.1:9901")),
            ("localhost:1", Some("127.0.0.1:1")),
            ("[::1]:9901", Some("[::1]:9901")),
            ("http://127.0.0.1:9901/", Some("127.0.0.1:9901")),
            ("unix:/run/a b.sock", Some("unix:/run/a b.sock")),
            ("unix:", None),
            ("9901", None),
            ("example.com:9901", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Address>().ok().map(|address| address.to_string()).as_deref(), printed, "{text}");
        }
    }
}
