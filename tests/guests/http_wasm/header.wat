;; A guest of http-wasm that reads one request header and sets one.
(module
  (import "http_handler" "get_header_values" (func $values (param i32 i32 i32 i32 i32) (result i64)))
  (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "user-agentx-benchseen")

  (func (export "handle_request") (result i64)
    (drop (call $values (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 1024) (i32.const 1024)))
    (call $set (i32.const 0) (i32.const 10) (i32.const 7) (i32.const 17) (i32.const 4))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)))
