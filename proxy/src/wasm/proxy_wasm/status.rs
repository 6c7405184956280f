//! What a host function answers.

/// Why a host function did nothing. The numbers are the ABI's (`proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// There is no such key, property, queue, metric or function.
    NotFound = 1,
    /// An argument is none that the function takes, or none that it takes now.
    BadArgument = 2,
    /// What is to be given cannot be made, or what came is not what it is said to be.
    SerializationFailure = 3,
    /// A list of pairs is not as the ABI writes them.
    ParseFailure = 4,
    /// An address is not the guest's.
    InvalidMemoryAccess = 6,
    /// A queue has nothing in it.
    Empty = 7,
    /// Shared data changed since it was read.
    CasMismatch = 8,
    /// A limit is reached, or the gateway failed.
    InternalFailure = 10,
    /// The gateway does not do this.
    Unimplemented = 12,
}

/// A host function's outcome.
pub(super) type Done<T = ()> = Result<T, Status>;

/// As the guest gets it.
pub(super) fn code(done: Done) -> u32 {
    done.map_or_else(|status| status as u32, |()| 0)
}
