//! Messages of Protocol Buffers that modules pass where Envoy's own functions take them, as far as they mean something
//! here; fields that are not here are passed over. The names and numbers are Envoy's.

use super::status::{Done, Status};

/// Reads a message.
///
/// # Errors
/// [`Status::ParseFailure`] where it is none.
pub(super) fn decode<M: prost::Message + Default>(bytes: &[u8]) -> Done<M> {
    M::decode(bytes).map_err(|_| Status::ParseFailure)
}

/// Writes a message.
pub(super) fn encode(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// `envoy.config.core.v3.GrpcService`: which upstream a call of gRPC goes to.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GrpcService {
    #[prost(message, optional, tag = "1")]
    pub(super) envoy_grpc: Option<EnvoyGrpc>,
}

/// An upstream of the proxy's own.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    pub(super) cluster_name: String,
    #[prost(string, tag = "2")]
    pub(super) authority: String,
}

/// What the foreign function `set_envoy_filter_state` takes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetEnvoyFilterState {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// What the foreign function `declare_property` takes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DeclareProperty {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bool, tag = "2")]
    pub(super) readonly: bool,
}

/// What the foreign function `verify_signature` takes: a key in one of two forms.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VerifySignature {
    #[prost(string, tag = "1")]
    pub(super) hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) text: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) public_key_pem: String,
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SignatureVerified {
    #[prost(bool, tag = "1")]
    pub(super) result: bool,
    #[prost(string, tag = "2")]
    pub(super) error: String,
}

/// What the foreign function `sign` takes: a key in one of two forms.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sign {
    #[prost(string, tag = "1")]
    pub(super) hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) text: Vec<u8>,
    #[prost(string, tag = "4")]
    pub(super) private_key_pem: String,
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Signed {
    #[prost(bool, tag = "1")]
    pub(super) result: bool,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) signature: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) error: String,
}
