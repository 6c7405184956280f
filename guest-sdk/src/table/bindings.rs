//! What `wit-bindgen` makes of the tables' WIT. Nothing is written here by hand; authors use what stands around it.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::too_many_lines,
    reason = "generated"
)]

wit_bindgen::generate!({
    world: "described-table",
    path: "../proxy/wit/table",
    pub_export_macro: true,
    export_macro_name: "export_table",
    default_bindings_module: "tidegate_guest::table::bindings",
});
