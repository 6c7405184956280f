//! Who pushes, as far as the system says. For people to read; nothing is decided by it.

/// The name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `user@host`, or only the host.
pub(super) fn whoever() -> String {
    match std::env::var("USER") {
        Ok(user) if !user.is_empty() => format!("{user}@{}", host_name()),
        _ => host_name(),
    }
}
