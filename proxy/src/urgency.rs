//! How urgent a thread is: those that no request waits for go after the workers where both want a core. Knows nothing of what
//! a thread does.

/// Threads of the control plane: half of a worker's share of a core (sched(7)), so that what a reload takes, requests do not wait for.
pub(crate) const CONTROL: i32 = 3;

/// Threads that compile modules, a second of a core and more for each megabyte: a fifth of a worker's share.
pub(crate) const COMPILE: i32 = 7;

/// Makes the calling thread, and those that it starts from then on, as nice as this, if it is less so. A system on which only
/// processes have a niceness leaves it as it is.
pub(crate) fn lower(nice: i32) {
    #[cfg(target_os = "linux")]
    if let Ok(own) = rustix::process::getpriority_process(None)
        && own < nice
        && let Err(error) = rustix::process::setpriority_process(None, nice)
    {
        tracing::debug!(%error, nice, "a thread stays as urgent as the workers");
    }
    #[cfg(not(target_os = "linux"))]
    let _everywhere_the_same = nice;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_lowered_alone_and_never_raised() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let lowered = std::thread::spawn(move || {
            lower(COMPILE);
            lower(CONTROL);
            own()
        });
        assert_eq!(lowered.join().unwrap(), before.max(COMPILE));
        assert_eq!(own(), before);
    }
}
