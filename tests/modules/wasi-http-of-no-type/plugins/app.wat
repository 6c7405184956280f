(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param i32 i32)))
