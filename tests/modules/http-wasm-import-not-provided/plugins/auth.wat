(module
  (import "http_handler" "get_header" (func (param i32 i32)))
  (import "http_handler" "next" (func))
  (import "wasi_snapshot_preview1" "sock_open" (func))
  (memory (export "memory") 1)
  (func (export "handle")))
