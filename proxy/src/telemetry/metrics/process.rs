//! What the kernel says of the process, for the metrics. Reads `/proc`; where that is missing, says nothing.

use rustix::time::{ClockId, clock_gettime};

/// Of this process.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_fds: u64,
}

/// What the kernel counts at present.
pub(super) fn usage() -> Option<Usage> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    Some(Usage { cpu_seconds, resident_bytes: resident(&status)?, open_fds })
}

// `VmRSS:     5432 kB`; proc(5).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    5432 kB\nThreads:\t1\n"), Some(5432 * 1024));
    }
}
