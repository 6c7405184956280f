//! What `bindgen!` makes of the tables' WIT. Nothing is written here by hand.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    world: "imports",
    path: "wit/table",
    imports: { default: trappable },
});
