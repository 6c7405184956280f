//! File systems whose changes the kernel does not report, or not all of them. Knows `statfs` and the mount table, and
//! nothing of configurations.

use std::path::Path;

/// The name of the file system at `path` if its events cannot be relied on: somebody else may write to it unseen.
#[cfg(target_os = "linux")]
pub(super) fn without_events(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The field is signed and of the machine's width; the magic numbers are 32 bits.
    name_of(kind as u32)
}

/// Elsewhere the system's own watcher is trusted.
#[cfg(not(target_os = "linux"))]
pub(super) fn without_events(_path: &Path) -> Option<&'static str> {
    None
}

/// Whether a single file at or below `path` is a mount of its own, as container runtimes bind one file: replacing the
/// file outside is then invisible to a watch of its directory.
pub(super) fn has_file_mount(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .any(|point| Path::new(&point).starts_with(path) && Path::new(&point).is_file())
}

// Magic numbers as in linux/magic.h and the file systems' own sources.
#[cfg(target_os = "linux")]
fn name_of(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x794c_7630 => "overlayfs",
        0x6573_5546 => "FUSE",
        0x0102_1997 => "9p",
        0xff53_4d42 | 0xfe53_4d42 => "CIFS",
        0x517b => "SMB",
        0x564c => "NCP",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x00c3_6400 => "Ceph",
        0x0116_1970 => "GFS2",
        0x7461_636f => "OCFS2",
        0x0bd0_0bd0 => "Lustre",
        0x7375_7245 => "Coda",
        0x786f_4256 => "vboxsf",
        0xbacb_acbc => "vmhgfs",
        0x1983_0326 => "BeeGFS",
        0x4750_4653 => "GPFS",
        0xf15f => "eCryptfs",
        0x9fa0 => "procfs",
        0x6265_6572 => "sysfs",
        _ => return None,
    })
}

/// Mount points are written with space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        for (written, meant) in [("/a", "/a"), (r"/a\040b", "/a b"), (r"/a\134", r"/a\"), (r"/a\x", r"/a\x")] {
            assert_eq!(unescape(written), meant);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pseudo_file_system_is_polled_and_an_ordinary_directory_has_no_file_mount() {
        assert_eq!(without_events(Path::new("/proc")), Some("procfs"));
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_file_mount(dir.path()));
    }
}
