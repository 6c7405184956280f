//! Facts of the exchange, its attributes, and what plugins keep in it.

use std::net::IpAddr;

use wasmtime::Result;

use super::{bindings::tidegate::plugin::exchange::Host, types::Refusal};
use crate::wasm::{call::active, guest::Data};

/// Attributes of one exchange that plugins set.
const ATTRIBUTES_MAX: usize = 64;
/// Bytes of an attribute's name, and of its value.
const ATTRIBUTE_BYTES_MAX: usize = 4 << 10;

impl Host for Data {
    fn client_address(&mut self) -> Result<String> {
        active(|visit| Ok(address(visit.exchange.client)))
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
        active(|visit| Ok(visit.exchange.trace.id_text()))
    }

    fn attribute(&mut self, name: String) -> Result<Option<String>> {
        active(|visit| {
            let attributes = visit.exchange.attributes.borrow();
            Ok(attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
        })
    }

    fn set_attribute(&mut self, name: String, value: String) -> Result<Result<(), Refusal>> {
        active(|visit| {
            let malformed = name.is_empty() || !name.bytes().all(is_plain) && name.chars().any(char::is_control);
            if malformed {
                return Ok(Err(Refusal::Malformed));
            }
            if name.len() > ATTRIBUTE_BYTES_MAX || value.len() > ATTRIBUTE_BYTES_MAX {
                return Ok(Err(Refusal::TooLarge));
            }
            let name = [&*visit.local.name, ".", &name].concat();
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

// As its `Display` has it. This is asked by every limit, and what `format` brings along costs ten times as much.
fn address(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for power in [100, 10, 1] {
            if octet >= power || power == 1 {
                text.push(char::from(b'0' + octet / power % 10));
            }
        }
    }
    text
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_everywhere() {
        let octets = [0, 1, 9, 10, 11, 99, 100, 101, 110, 199, 200, 255];
        for (place, octet) in octets.iter().flat_map(|octet| (0..4).map(move |place| (place, *octet))) {
            let mut parts = [192, 0, 2, 7];
            parts[place] = octet;
            assert_eq!(address(parts.into()), IpAddr::from(parts).to_string());
        }
        for text in ["2001:db8::1", "::1", "::ffff:192.0.2.1"] {
            assert_eq!(address(text.parse().unwrap()), text);
        }
    }
}
