//! Steps that shape what passes, configured. Knows nothing of what they do.

use http::HeaderName;
use serde::{Serialize, Serializer};

/// An id for every exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestId {
    /// The field that carries it.
    #[serde(serialize_with = "name")]
    pub header: HeaderName,
    /// Whether one that the client sends is kept.
    pub accept: bool,
    /// Whether the response carries it.
    pub respond: bool,
}

fn name<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}
