//! What `bindgen!` makes of the WIT: types of both directions and the traits of what we provide. Nothing is written
//! here by hand.

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
    path: "wit",
    imports: {
        "tidegate:plugin/body.next": async | trappable,
        "tidegate:plugin/clock.sleep": async | trappable,
        "tidegate:plugin/upstream.call": async | trappable,
        default: trappable,
    },
    with: {
        "tidegate:plugin/http.request": super::handles::RequestHandle,
        "tidegate:plugin/http.response": super::handles::ResponseHandle,
    },
});
