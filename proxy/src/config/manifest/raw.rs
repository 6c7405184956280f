//! What manifests hold: serde types whose fields are those of Kubernetes, in camel case. Fields that the gateway knows and
//! does nothing for are [`Unsupported`]; what only a cluster needs is [`IgnoredAny`]. Knows nothing of what they mean here.

use serde::{Deserialize, de::IgnoredAny};

use crate::config::raw::{Entries, Field, Period, Text};

/// A field of the API that has no effect here.
pub(super) type Unsupported = Field<IgnoredAny>;
/// A field that only a cluster needs.
type Foreign = Field<IgnoredAny>;
/// A list.
pub(super) type List<T> = Field<Vec<Field<T>>>;

/// Defines a struct of fields that are all optional, and of which unknown ones are reported.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub(super) struct $name { $($(#[$attribute])* pub(super) $field: $kind,)* }
    )*};
}

fields! {
    /// What every object says of itself.
    Metadata {
        name: Field<String>,
        namespace: Field<String>,
        labels: Field<Entries<Text>>,
        annotations: Field<Entries<Text>>,
        creation_timestamp: Field<Text>,
        uid: Foreign,
        resource_version: Foreign,
        generation: Foreign,
        generate_name: Foreign,
        managed_fields: Foreign,
        owner_references: Foreign,
        finalizers: Foreign,
        self_link: Foreign,
        deletion_timestamp: Foreign,
        deletion_grace_period_seconds: Foreign,
    }
    /// `Gateway.spec`.
    Gateway {
        gateway_class_name: Field<String>,
        listeners: List<Listener>,
        addresses: List<Address>,
        tls: Field<GatewayTls>,
        infrastructure: Foreign,
        allowed_listeners: Field<AllowedListeners>,
        default_scope: Unsupported,
        #[serde(rename = "backendTLS")]
        backend_tls: Field<BackendTls>,
    }
    /// `Gateway.spec.tls`.
    GatewayTls { backend: Field<BackendTls>, frontend: Field<FrontendTls>, }
    BackendTls { client_certificate_ref: Field<ObjectRef>, }
    FrontendTls { default: Field<PortTls>, per_port: List<OfPort>, }
    OfPort { port: Field<u16>, tls: Field<PortTls>, }
    PortTls { validation: Field<ClientValidation>, }
    ClientValidation { ca_certificate_refs: List<ObjectRef>, mode: Field<String>, }
    AllowedListeners { namespaces: Field<RouteNamespaces>, }
    /// `ListenerSet.spec`.
    ListenerSet { parent_ref: Field<ParentRef>, listeners: List<Listener>, }
    Address { r#type: Field<String>, value: Field<String>, }
    Listener {
        name: Field<String>,
        hostname: Field<String>,
        port: Field<u16>,
        protocol: Field<String>,
        tls: Field<ListenerTls>,
        allowed_routes: Field<AllowedRoutes>,
    }
    ListenerTls {
        mode: Field<String>,
        certificate_refs: List<ObjectRef>,
        frontend_validation: Field<ClientValidation>,
        options: Unsupported,
    }
    /// A reference to an object by kind and name.
    ObjectRef {
        group: Field<String>,
        kind: Field<String>,
        name: Field<String>,
        namespace: Field<String>,
        port: Field<u16>,
    }
    AllowedRoutes { namespaces: Field<RouteNamespaces>, kinds: List<RouteKind>, }
    RouteNamespaces { from: Field<String>, selector: Field<Selector>, }
    Selector { match_labels: Field<Entries<Text>>, match_expressions: List<Requirement>, }
    Requirement { key: Field<String>, operator: Field<String>, values: List<Text>, }
    RouteKind { group: Field<String>, kind: Field<String>, }
    /// `HTTPRoute.spec`.
    HttpRoute {
        parent_refs: List<ParentRef>,
        hostnames: List<String>,
        rules: List<HttpRule>,
        use_default_gateways: Unsupported,
    }
    ParentRef {
        group: Field<String>,
        kind: Field<String>,
        name: Field<String>,
        namespace: Field<String>,
        section_name: Field<String>,
        port: Field<u16>,
    }
    HttpRule {
        name: Field<String>,
        matches: List<HttpMatch>,
        filters: List<Filter>,
        backend_refs: List<BackendRef>,
        timeouts: Field<Timeouts>,
        retry: Field<Retry>,
        session_persistence: Field<SessionPersistence>,
    }
    HttpMatch {
        path: Field<PathMatch>,
        headers: List<FieldMatch>,
        query_params: List<FieldMatch>,
        method: Field<String>,
    }
    PathMatch { r#type: Field<String>, value: Field<String>, }
    FieldMatch { r#type: Field<String>, name: Field<String>, value: Field<Text>, }
    Timeouts { request: Field<Period>, backend_request: Field<Period>, }
    Retry { codes: List<u16>, attempts: Field<u32>, backoff: Field<Period>, }
    /// A filter of either kind of route.
    Filter {
        r#type: Field<String>,
        request_header_modifier: Field<HeaderModifier>,
        response_header_modifier: Field<HeaderModifier>,
        request_mirror: Field<RequestMirror>,
        request_redirect: Field<RequestRedirect>,
        #[serde(rename = "urlRewrite")]
        url_rewrite: Field<UrlRewrite>,
        cors: Field<Cors>,
        direct_response: Field<DirectResponse>,
        extension_ref: Field<ObjectRef>,
        external_auth: Field<ExternalAuth>,
    }
    ExternalAuth {
        protocol: Field<String>,
        backend_ref: Field<ObjectRef>,
        http: Field<HttpAuth>,
        grpc: Field<GrpcAuth>,
        forward_body: Field<ForwardBody>,
    }
    HttpAuth {
        path: Field<String>,
        allowed_headers: List<String>,
        allowed_response_headers: List<String>,
    }
    GrpcAuth { allowed_headers: List<String>, }
    ForwardBody { max_size: Field<u32>, }
    HeaderModifier { set: List<HeaderValue>, add: List<HeaderValue>, remove: List<String>, }
    HeaderValue { name: Field<String>, value: Field<Text>, }
    RequestMirror { backend_ref: Field<ObjectRef>, percent: Field<u32>, fraction: Field<Fraction>, }
    Fraction { numerator: Field<u32>, denominator: Field<u32>, }
    RequestRedirect {
        scheme: Field<String>,
        hostname: Field<String>,
        path: Field<PathModifier>,
        port: Field<u16>,
        status_code: Field<u16>,
    }
    UrlRewrite { hostname: Field<String>, path: Field<PathModifier>, }
    PathModifier { r#type: Field<String>, replace_full_path: Field<String>, replace_prefix_match: Field<String>, }
    Cors {
        allow_origins: List<String>,
        allow_credentials: Field<bool>,
        allow_methods: List<String>,
        allow_headers: List<String>,
        expose_headers: List<String>,
        max_age: Field<u32>,
    }
    DirectResponse { status_code: Field<u16>, body: Field<DirectBody>, }
    DirectBody { string: Field<Text>, }
    BackendRef {
        group: Field<String>,
        kind: Field<String>,
        name: Field<String>,
        namespace: Field<String>,
        port: Field<u16>,
        weight: Field<u32>,
        filters: List<Filter>,
    }
    /// `GRPCRoute.spec`.
    GrpcRoute {
        parent_refs: List<ParentRef>,
        hostnames: List<String>,
        rules: List<GrpcRule>,
        use_default_gateways: Unsupported,
    }
    GrpcRule {
        name: Field<String>,
        matches: List<GrpcMatch>,
        filters: List<Filter>,
        backend_refs: List<BackendRef>,
        session_persistence: Field<SessionPersistence>,
    }
    GrpcMatch { method: Field<MethodMatch>, headers: List<FieldMatch>, }
    MethodMatch { r#type: Field<String>, service: Field<String>, method: Field<String>, }
    /// Of a rule: a client stays with an endpoint.
    SessionPersistence {
        session_name: Field<String>,
        absolute_timeout: Field<Period>,
        idle_timeout: Field<Period>,
        r#type: Field<String>,
        cookie_config: Field<CookieConfig>,
    }
    CookieConfig { lifetime_type: Field<String>, }
    /// `BackendTLSPolicy.spec`.
    BackendTlsPolicy {
        target_refs: List<PolicyTarget>,
        validation: Field<BackendValidation>,
        options: Unsupported,
    }
    PolicyTarget { group: Field<String>, kind: Field<String>, name: Field<String>, section_name: Field<String>, }
    BackendValidation {
        ca_certificate_refs: List<ObjectRef>,
        #[serde(rename = "wellKnownCACertificates")]
        well_known_ca_certificates: Field<String>,
        hostname: Field<String>,
        subject_alt_names: List<SubjectAltName>,
    }
    SubjectAltName { r#type: Field<String>, hostname: Field<String>, uri: Field<String>, }
    /// `ReferenceGrant.spec`.
    Grant { from: List<GrantFrom>, to: List<ObjectRef>, }
    GrantFrom { group: Field<String>, kind: Field<String>, namespace: Field<String>, }
    ServicePort {
        name: Field<String>,
        port: Field<u16>,
        protocol: Field<String>,
        app_protocol: Field<String>,
        target_port: Foreign,
        node_port: Foreign,
    }
    SliceEndpoint {
        addresses: List<String>,
        conditions: Field<Conditions>,
        hostname: Foreign,
        node_name: Foreign,
        zone: Foreign,
        target_ref: Foreign,
        hints: Foreign,
        deprecated_topology: Foreign,
    }
    Conditions { ready: Field<bool>, serving: Foreign, terminating: Foreign, }
    Subset { addresses: List<SubsetAddress>, not_ready_addresses: Foreign, ports: List<ServicePort>, }
    SubsetAddress { ip: Field<String>, hostname: Foreign, node_name: Foreign, target_ref: Foreign, }
}
