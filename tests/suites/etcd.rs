//! Following a prefix of a real etcd: whatever happens to it, requests do not fail, no generation is empty or mixed,
//! and what is written afterwards is served.

mod faults;
mod following;
mod large;
mod linear;
mod stage;
