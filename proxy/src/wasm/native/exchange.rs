//! Facts of the exchange, its attributes, and what plugins keep in it.

use wasmtime::Result;

use super::{bindings::tidegate::plugin::exchange::Host, types::Refusal};
use crate::wasm::{call::active, guest::Data};

/// Attributes of one exchange that plugins set.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of an attribute's name, and of its value.
const ATTRIBUTE_BYTES_MAX: usize = 4 << 10;

impl Host for Data {
    fn client_address(&mut self) -> Result<String> {
        active(|visit| Ok(visit.exchange.client.to_string()))
    }

    fn secure(&mut self) -> Result<bool> {
        active(|visit| Ok(visit.exchange.secure))
    }

    fn protocol(&mut self) -> Result<String> {
        active(|visit| Ok(format!("{:?}", visit.exchange.version)))
    }

    fn listener(&mut self) -> Result<String> {
        active(|visit| Ok(visit.exchange.connection.listener.to_string()))
    }

    fn route(&mut self) -> Result<Option<String>> {
        active(|visit| Ok(visit.exchange.route().map(|route| route.id.to_string())))
    }

    fn generation(&mut self) -> Result<u64> {
        active(|visit| Ok(visit.exchange.generation()))
    }

    fn trace_id(&mut self) -> Result<String> {
        active(|visit| Ok(format!("{:032x}", visit.exchange.trace.trace_id)))
    }

    fn attribute(&mut self, name: String) -> Result<Option<String>> {
        active(|visit| {
            let attributes = visit.exchange.attributes.borrow();
            Ok(attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
        })
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<Result<(), Refusal>> {
        active(|visit| {
            let malformed = name.is_empty() || name.chars().any(char::is_control);
            if malformed {
                return Ok(Err(Refusal::Malformed));
            }
            if name.len() > ATTRIBUTE_BYTES_MAX || value.len() > ATTRIBUTE_BYTES_MAX {
                return Ok(Err(Refusal::TooLarge));
            }
            let name = format!("{}.{name}", visit.local.name);
            let mut attributes = visit.exchange.attributes.borrow_mut();
            match attributes.iter().position(|(known, _)| *known == name) {
                Some(position) => attributes[position].1 = value,
                None if attributes.len() >= ATTRIBUTES_MAX => return Ok(Err(Refusal::TooLarge)),
                None => attributes.push((name, value)),
            }
            Ok(Ok(()))
        })
    }

    fn keep(&mut self, state: Vec<u8>) -> Result<Result<(), Refusal>> {
        active(|visit| {
            if state.len() > visit.local.plugin.limits.state_bytes_max {
                return Ok(Err(Refusal::TooLarge));
            }
            visit.kept.replace(Some(state));
            Ok(Ok(()))
        })
    }

    fn kept(&mut self) -> Result<Option<Vec<u8>>> {
        active(|visit| Ok(visit.kept.borrow().clone()))
    }
}
