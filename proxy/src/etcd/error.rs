//! What can go wrong with etcd, told apart by what to do about it. Each error names the endpoint and the next step.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use tonic::{Code, Status};

/// Why etcd did not do what it was asked for.
#[derive(Clone, Debug)]
pub struct Error {
    /// What to do about it depends on this alone.
    pub kind: Kind,
    endpoint: Arc<str>,
    detail: String,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection, or it broke.
    Network,
    /// No answer in time.
    Timeout,
    /// The member answers, and says that it cannot serve: no leader, overload, shutting down.
    Unavailable,
    /// The TLS handshake failed, or one of our files for it cannot be used.
    Tls,
    /// Name or password are wrong, or missing.
    Credentials,
    /// The token was expired or revoked, and a new one was not taken either.
    Token,
    /// The user may not do this.
    Permission,
    /// The revision asked for is gone; everything from `revision` on is there.
    Compacted {
        /// The oldest revision that is there.
        revision: i64,
    },
    /// The revision asked for is not there yet: this is not the etcd that it came from, or an older state of it.
    Future,
    /// A request or an answer is larger than its limit.
    TooLarge,
    /// etcd's own space is used up; it takes no writes.
    NoSpace,
    /// What was named is not there (a lease).
    NotFound,
    /// A stream ended without a reason.
    Closed,
    /// etcd ended a watch, for a reason that is none of the others.
    Cancelled,
    /// etcd said anything else.
    Server,
}

impl Error {
    pub(super) fn new(kind: Kind, endpoint: &Arc<str>, detail: impl Into<String>) -> Self {
        Self { kind, endpoint: Arc::clone(endpoint), detail: detail.into() }
    }

    /// From what gRPC says.
    pub(super) fn of_status(endpoint: &Arc<str>, status: &Status) -> Self {
        let detail = match status.source() {
            // Our own side of the connection noticed it.
            Some(source) => chain(source),
            None => status.message().to_owned(),
        };
        Self::new(kind(status, &detail), endpoint, detail)
    }

    /// From what the transport says of a connection that could not be made.
    pub(super) fn of_connect(endpoint: &Arc<str>, error: &tonic::transport::Error) -> Self {
        let kind = if is_handshake(error) { Kind::Tls } else { Kind::Network };
        Self::new(kind, endpoint, chain(error))
    }

    /// The endpoint that it happened with, or all of them.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether another endpoint, or the same one a little later, may well answer.
    pub const fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Network | Kind::Timeout | Kind::Unavailable | Kind::Closed)
    }

    /// What an operator does next.
    pub const fn hint(&self) -> &'static str {
        match self.kind {
            Kind::Network | Kind::Timeout => {
                "check that etcd runs and that its client address can be reached from here"
            }
            Kind::Unavailable => "check the cluster: `etcdctl endpoint status --cluster`",
            Kind::Tls => "check CA, certificate and key, and that the endpoint speaks TLS exactly if its URL is https",
            Kind::Credentials => "check user and password; where etcd asks for a user, give one",
            Kind::Token => "check that the user still exists and that etcd's members agree on the time",
            Kind::Permission => "grant the user's role the prefix: `etcdctl role grant-permission --prefix=true`",
            Kind::Compacted { .. } => "read again from the present revision",
            Kind::Future => "etcd's state is older than it was; read everything again",
            Kind::TooLarge => "split it, or raise etcd's --max-request-bytes",
            Kind::NoSpace => "compact, defragment and disarm etcd's alarm, or raise its --quota-backend-bytes",
            Kind::NotFound => "it has expired or was revoked; make a new one",
            Kind::Closed | Kind::Cancelled => "it is opened again; look into etcd's log if it happens often",
            Kind::Server => "look into etcd's log",
        }
    }
}

impl Kind {
    /// Every kind, for tables.
    pub const ALL: [Self; 15] = [
        Self::Network,
        Self::Timeout,
        Self::Unavailable,
        Self::Tls,
        Self::Credentials,
        Self::Token,
        Self::Permission,
        Self::Compacted { revision: 0 },
        Self::Future,
        Self::TooLarge,
        Self::NoSpace,
        Self::NotFound,
        Self::Closed,
        Self::Cancelled,
        Self::Server,
    ];

    /// The name in logs, metric labels and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Tls => "tls",
            Self::Credentials => "credentials",
            Self::Token => "token",
            Self::Permission => "permission",
            Self::Compacted { .. } => "compacted",
            Self::Future => "future",
            Self::TooLarge => "too_large",
            Self::NoSpace => "no_space",
            Self::NotFound => "not_found",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "etcd {}: {}; {}", self.endpoint, self.detail, self.hint())
    }
}

impl StdError for Error {}

/// What a reason that etcd gives in words means; it gives the same ones for requests and for cancelled watches.
pub(super) fn reason(text: &str) -> Option<Kind> {
    let meanings: [(&str, Kind); 19] = [
        ("invalid auth token", Kind::Token),
        ("revision of auth store is old", Kind::Token),
        ("auth token", Kind::Token),
        ("user name is empty", Kind::Token),
        ("authentication failed", Kind::Credentials),
        ("permission denied", Kind::Permission),
        ("required revision has been compacted", Kind::Compacted { revision: 0 }),
        ("required revision is a future revision", Kind::Future),
        ("request is too large", Kind::TooLarge),
        ("too many operations in txn", Kind::TooLarge),
        ("message length too large", Kind::TooLarge),
        ("larger than max", Kind::TooLarge),
        ("database space exceeded", Kind::NoSpace),
        ("lease not found", Kind::NotFound),
        ("no leader", Kind::Unavailable),
        ("not leader", Kind::Unavailable),
        ("leader changed", Kind::Unavailable),
        ("too many requests", Kind::Unavailable),
        ("request timed out", Kind::Timeout),
    ];
    meanings.iter().find(|(words, _)| text.contains(words)).map(|(_, kind)| *kind)
}

fn kind(status: &Status, detail: &str) -> Kind {
    if let Some(kind) = reason(detail) {
        return kind;
    }
    if status.source().is_some_and(is_handshake) {
        return Kind::Tls;
    }
    match status.code() {
        Code::DeadlineExceeded => Kind::Timeout,
        Code::Unauthenticated => Kind::Token,
        Code::PermissionDenied => Kind::Permission,
        Code::NotFound => Kind::NotFound,
        _ if detail.to_ascii_lowercase().contains("timed out") => Kind::Timeout,
        _ if status.source().is_some() => Kind::Network,
        Code::Unavailable | Code::Aborted | Code::ResourceExhausted => Kind::Unavailable,
        // A proxy, or a connection that ends in the middle of an answer.
        Code::Unknown | Code::Internal | Code::Cancelled if detail.contains("h2 protocol") => Kind::Network,
        _ => Kind::Server,
    }
}

// rustls says what it does not like as invalid data.
fn is_handshake(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_tls = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
        if is_tls || error.to_string().contains("certificate") {
            return true;
        }
        next = error.source();
    }
    false
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        // Many layers only repeat what is below them.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_is_told_apart() {
        for (status, kind) in [
            (Status::unauthenticated("etcdserver: invalid auth token"), Kind::Token),
            (Status::invalid_argument("etcdserver: revision of auth store is old"), Kind::Token),
            (Status::invalid_argument("etcdserver: user name is empty"), Kind::Token),
            (
                Status::invalid_argument("etcdserver: authentication failed, invalid user ID or password"),
                Kind::Credentials,
            ),
            (Status::permission_denied("etcdserver: permission denied"), Kind::Permission),
            (
                Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
                Kind::Compacted { revision: 0 },
            ),
            (Status::out_of_range("etcdserver: mvcc: required revision is a future revision"), Kind::Future),
            (Status::invalid_argument("etcdserver: request is too large"), Kind::TooLarge),
            (Status::resource_exhausted("trying to send message larger than max (2 vs. 1)"), Kind::TooLarge),
            (Status::resource_exhausted("etcdserver: mvcc: database space exceeded"), Kind::NoSpace),
            (Status::not_found("etcdserver: requested lease not found"), Kind::NotFound),
            (Status::unavailable("etcdserver: no leader"), Kind::Unavailable),
            (Status::unavailable("etcdserver: request timed out"), Kind::Timeout),
            (Status::deadline_exceeded("context deadline exceeded"), Kind::Timeout),
            (Status::internal("something else"), Kind::Server),
        ] {
            let error = Error::of_status(&"http://one:2379".into(), &status);
            assert_eq!(error.kind, kind, "{status:?}");
            let text = error.to_string();
            assert!(text.contains("http://one:2379") && text.contains(error.hint()), "{text}");
        }
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
