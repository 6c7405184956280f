//! The head of a request, as the gateway shows it to a table's guest.

pub(super) use crate::table::bindings::tidegate::table::request::{
    authority, client_address, cookie, header, header_values, listener, method, path, query, secure,
};
