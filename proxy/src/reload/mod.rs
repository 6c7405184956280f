//! Reload: from a change to a new generation. What it tells of itself is in [`status`]. Knows no HTTP.

pub mod status;
