//! The rest of WASI preview 1: files and connections, of which there are none. Compilers' runtimes import these and
//! seldom call them.

use wasmtime::{Linker, Result};

use super::{BADF, NOSYS, Wasi};

macro_rules! stubs {
    ($linker:expr, $module:expr, $($name:literal($($ty:ty),*) = $errno:expr;)*) => {
        $($linker.func_wrap($module, $name, |$(_: $ty),*| $errno)?;)*
    };
}

pub(super) fn link<D: Wasi>(linker: &mut Linker<D>, module: &str) -> Result<()> {
    stubs! { linker, module,
        "fd_advise"(u32, u64, u64, u32) = BADF;
        "fd_allocate"(u32, u64, u64) = BADF;
        "fd_datasync"(u32) = BADF;
        "fd_fdstat_set_flags"(u32, u32) = BADF;
        "fd_fdstat_set_rights"(u32, u64, u64) = BADF;
        "fd_filestat_get"(u32, u32) = BADF;
        "fd_filestat_set_size"(u32, u64) = BADF;
        "fd_filestat_set_times"(u32, u64, u64, u32) = BADF;
        "fd_pread"(u32, u32, u32, u64, u32) = BADF;
        "fd_prestat_dir_name"(u32, u32, u32) = BADF;
        "fd_prestat_get"(u32, u32) = BADF;
        "fd_pwrite"(u32, u32, u32, u64, u32) = BADF;
        "fd_read"(u32, u32, u32, u32) = BADF;
        "fd_readdir"(u32, u32, u32, u64, u32) = BADF;
        "fd_renumber"(u32, u32) = BADF;
        "fd_sync"(u32) = BADF;
        "fd_tell"(u32, u32) = BADF;
        "path_create_directory"(u32, u32, u32) = BADF;
        "path_filestat_get"(u32, u32, u32, u32, u32) = BADF;
        "path_filestat_set_times"(u32, u32, u32, u32, u64, u64, u32) = BADF;
        "path_link"(u32, u32, u32, u32, u32, u32, u32) = BADF;
        "path_open"(u32, u32, u32, u32, u32, u64, u64, u32, u32) = BADF;
        "path_readlink"(u32, u32, u32, u32, u32, u32) = BADF;
        "path_remove_directory"(u32, u32, u32) = BADF;
        "path_rename"(u32, u32, u32, u32, u32, u32) = BADF;
        "path_symlink"(u32, u32, u32, u32, u32) = BADF;
        "path_unlink_file"(u32, u32, u32) = BADF;
        "proc_raise"(u32) = NOSYS;
        "sock_accept"(u32, u32, u32) = BADF;
        "sock_recv"(u32, u32, u32, u32, u32, u32) = BADF;
        "sock_send"(u32, u32, u32, u32, u32) = BADF;
    }
    Ok(())
}
