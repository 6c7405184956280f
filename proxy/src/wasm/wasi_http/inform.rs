//! Interim responses of components (`send-informational`): the engine's library declares the function and traps in it, so it is
//! defined here, and done.

use http::{StatusCode, response};
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    FieldMap,
    p2::{bindings::http::types::ErrorCode, types::HostResponseOutparam},
};

use super::{
    data::{Data, strip},
    handling,
};

/// As the engine's library has it; each patch version that components ask for finds it.
const TYPES: &str = "wasi:http/types@0.2.12";

type Sent = (std::result::Result<(), ErrorCode>,);

/// Defines the function. To be called after the library has defined the interface.
pub(super) fn add(linker: &mut Linker<Data>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.func_wrap("[method]response-outparam.send-informational", send)
}

fn send(
    mut store: StoreContextMut<'_, Data>,
    (out, status, fields): (Resource<HostResponseOutparam>, u16, Resource<FieldMap>),
) -> Result<Sent> {
    let table = &mut store.data_mut().table;
    table.get(&out)?;
    let fields = table.delete(fields)?;
    let Some(status) = StatusCode::from_u16(status).ok().filter(|status| is_interim(*status)) else {
        return Ok((Err(ErrorCode::HttpProtocolError),));
    };
    let (mut head, ()) = http::Response::new(()).into_parts();
    (head.status, head.headers) = (status, fields.into());
    strip(&mut head.headers);
    head.headers.remove(http::header::CONTENT_LENGTH);
    Ok((handling::with_active(|handling| inform(handling, head)).unwrap_or(Ok(())),))
}

fn inform(handling: &handling::Handling, head: response::Parts) -> std::result::Result<(), ErrorCode> {
    // The gateway itself asks for bodies that wait for it.
    if head.status == StatusCode::CONTINUE || handling.inform(head) {
        return Ok(());
    }
    Err(ErrorCode::InternalError(Some("over the interim responses of one exchange, or after its answer".into())))
}

// A switch of protocols is the end of an exchange.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
