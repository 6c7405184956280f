//! Where the binaries of the peers that no package of the system has are found. Knows nothing of how they are started.

use std::{env, path::PathBuf};

/// The binary of this name (`envoy`, `caddy`, `traefik`): what `TIDEGATE_BENCH_ENVOY` and its like name, or the first on the path.
/// `scripts/bench.sh` sees to it; where there is none, says so, and the peer is left out.
pub(crate) fn binary(name: &str) -> Option<PathBuf> {
    let variable = format!("TIDEGATE_BENCH_{}", name.to_uppercase());
    let named = env::var_os(&variable).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()));
    if found.is_none() {
        eprintln!("bench: {name} is not at hand ({variable}, or on the path): left out");
    }
    found
}
