//! Which kind of trap a guest ended with, by what the engine says of it. Knows no guest.

use wasmtime::Trap;

use super::guest::DENIED;
use crate::telemetry::metrics::TrapKind;

/// The kind that a trap's text tells.
pub(super) fn trap_kind(text: &str) -> TrapKind {
    if text.contains(DENIED) {
        return TrapKind::MemoryLimit;
    }
    let kinds = [
        (Trap::UnreachableCodeReached, TrapKind::Unreachable),
        (Trap::MemoryOutOfBounds, TrapKind::Memory),
        (Trap::StackOverflow, TrapKind::Stack),
        (Trap::TableOutOfBounds, TrapKind::Call),
        (Trap::IndirectCallToNull, TrapKind::Call),
        (Trap::BadSignature, TrapKind::Call),
        (Trap::IntegerDivisionByZero, TrapKind::Arithmetic),
        (Trap::IntegerOverflow, TrapKind::Arithmetic),
        (Trap::BadConversionToInteger, TrapKind::Arithmetic),
    ];
    let found = kinds.into_iter().find(|(trap, _)| text.contains(&trap.to_string()));
    found.map_or(TrapKind::Other, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_says_is_told_apart() {
        for (text, kind) in [
            (format!("{}\nin a function", Trap::StackOverflow), TrapKind::Stack),
            (Trap::MemoryOutOfBounds.to_string(), TrapKind::Memory),
            (format!("{} ({DENIED} 7 bytes)", Trap::UnreachableCodeReached), TrapKind::MemoryLimit),
            (Trap::UnreachableCodeReached.to_string(), TrapKind::Unreachable),
            ("a handle that there is not".to_owned(), TrapKind::Other),
        ] {
            assert_eq!(trap_kind(&text), kind, "{text}");
        }
    }
}
