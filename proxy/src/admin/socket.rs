//! The admin's Unix socket: made with mode 0600 before anyone can open it, taken over from a process that is gone,
//! removed at the end.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

const BACKLOG: i32 = 64;

/// Removes the socket's file when dropped, if it is still the one that was made.
#[derive(Debug)]
pub(super) struct Unlink {
    path: PathBuf,
    file: (u64, u64),
}

/// Listens on `path`.
///
/// # Errors
/// When another process listens there, when something else is there, or as the system says.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, Unlink)> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux gives the file the mode of the socket: it is never open to others, not even for a moment.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let unlink = Unlink { path: path.to_owned(), file: identity(path)? };
    Ok((UnixListener::from_std(socket.into())?, unlink))
}

// Removes the socket of a process that is gone: one that nobody listens on.
fn clear(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there?,
    };
    if !there.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket; remove it"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let there = fs::symlink_metadata(path)?;
    Ok((there.dev(), there.ino()))
}

impl Drop for Unlink {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.file) {
            // It may be gone by now, which is as well.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt, net};

    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_goes_with_its_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let (listener, unlink) = bind(&path).expect("bound");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).expect_err("held").kind(), io::ErrorKind::AddrInUse);
        drop((listener, unlink));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_taken_over_and_a_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        drop(net::UnixListener::bind(&path).expect("bound"));
        let (listener, old) = bind(&path).expect("taken over");
        fs::remove_file(&path).expect("removed");
        let (_other, _new) = bind(&path).expect("bound beside");
        drop((listener, old));
        assert!(path.exists(), "another's socket is left alone");
        let file = folder.path().join("file");
        fs::write(&file, "precious").expect("written");
        assert_eq!(bind(&file).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).expect("there"), "precious");
    }
}
