;; A plugin of Proxy-Wasm 0.2.1 that pauses each request until a call to the upstream `held` is answered.
(module
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $go (param i32) (result i32)))
  ;; The last two pages tell whose call has which number.
  (memory (export "memory") 4)
  (data (i32.const 0) "held")
  ;; `:method GET`, `:path /`, `:authority held`.
  (data (i32.const 16) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/\00:authority\00held\00")
  (global $heap (mut i32) (i32.const 0x10000))

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))

  ;; What it is given is read before anything else is, so that the memory may be used again and again.
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 0x20000))
      (then (global.set $heap (i32.const 0x10000))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))

  (func $place (param $number i32) (result i32)
    (i32.add (i32.const 0x20000) (i32.shl (i32.and (local.get $number) (i32.const 0x7fff)) (i32.const 2))))

  (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
    (if (call $call (i32.const 0) (i32.const 4) (i32.const 16) (i32.const 64) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 120000) (i32.const 1024))
      (then unreachable))
    (i32.store (call $place (i32.load (i32.const 1024))) (local.get $id))
    (i32.const 1))

  (func (export "proxy_on_http_call_response") (param i32) (param $number i32) (param i32 i32 i32)
    (drop (call $effective (i32.load (call $place (local.get $number)))))
    (drop (call $go (i32.const 0)))))
