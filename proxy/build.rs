//! Compiles the calls of etcd (`proto/`) to Rust. Pure Rust: no protoc on the machine. Knows no other generated code.

fn main() {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/rpc.proto"], ["proto"]).expect("the files in proto/ are valid");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .bytes(".")
        .compile_fds(files)
        .expect("what protox gives compiles");
}
