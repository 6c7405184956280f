;; A plugin that misbehaves when the path asks it to.
(module
  (import "tidegate:plugin/http@0.1.0" "[method]request.path" (func $path (param i32 i32)))
  (import "tidegate:plugin/http@0.1.0" "[resource-drop]request" (func $drop (param i32)))
  (import "tidegate:plugin/clock@0.1.0" "sleep" (func $sleep (param i64)))
  (import "[export]tidegate:plugin/handler@0.1.0" "[resource-new]plugin" (func $new (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "a failure in good orderx-bywasmI am a teapot")
  (global $base (mut i32) (i32.const 4096))
  (global $heap (mut i32) (i32.const 4096))

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "tidegate:plugin/handler@0.1.0#[static]plugin.create") (param i32 i32) (result i32)
    (global.set $base (global.get $heap))
    (i32.store (i32.const 1028) (call $new (i32.const 0)))
    (i32.const 1024))

  (func (export "tidegate:plugin/handler@0.1.0#[method]plugin.on-request") (param $self i32) (param $request i32) (result i32)
    (local $word i32)
    (global.set $heap (global.get $base))
    (call $path (local.get $request) (i32.const 3072))
    (call $drop (local.get $request))
    ;; The first four letters after the slash.
    (local.set $word (i32.load offset=1 align=1 (i32.load (i32.const 3072))))
    (if (i32.eq (local.get $word) (i32.const 0x70617274)) (then unreachable)) ;; "trap"
    (if (i32.eq (local.get $word) (i32.const 0x6e697073)) (then (loop $on (br $on)))) ;; "spin"
    (if (i32.eq (local.get $word) (i32.const 0x74696177)) (then (call $sleep (i64.const 30000000000)))) ;; "wait"
    (if (i32.eq (local.get $word) (i32.const 0x6c696166)) (then (return (call $failure)))) ;; "fail"
    (if (i32.eq (local.get $word) (i32.const 0x77736e61)) (then (return (call $answer)))) ;; "answ"
    (i32.const 2048))

  ;; err("a failure in good order")
  (func $failure (result i32)
    (i32.store8 (i32.const 2304) (i32.const 1))
    (i32.store (i32.const 2308) (i32.const 0))
    (i32.store (i32.const 2312) (i32.const 23))
    (i32.const 2304))

  ;; ok(respond({status: 418, fields: [{name: "x-by", value: "wasm"}], body: "I am a teapot"}))
  (func $answer (result i32)
    (i32.store (i32.const 2500) (i32.const 23))
    (i32.store (i32.const 2504) (i32.const 4))
    (i32.store (i32.const 2508) (i32.const 27))
    (i32.store (i32.const 2512) (i32.const 4))
    (i32.store8 (i32.const 2404) (i32.const 1))
    (i32.store16 (i32.const 2408) (i32.const 418))
    (i32.store (i32.const 2412) (i32.const 2500))
    (i32.store (i32.const 2416) (i32.const 1))
    (i32.store (i32.const 2420) (i32.const 31))
    (i32.store (i32.const 2424) (i32.const 13))
    (i32.const 2400)))
