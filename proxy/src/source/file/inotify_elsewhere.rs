//! Where there is no inotify: every watch is refused, and the source polls.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    path::Path,
    sync::Arc,
};

use super::{hub::Hub, watch::Aim};

#[derive(Debug)]
pub(super) enum Inotify {}

impl Inotify {
    pub(super) fn new(_hub: Arc<Hub>) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn add(&self, _directory: &Path, _aim: Aim) -> io::Result<i32> {
        match *self {}
    }

    pub(super) fn remove(&self, _number: i32, _directory: &Path) {
        match *self {}
    }

    pub(super) fn drain(&self) {
        match *self {}
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        match *self {}
    }
}
