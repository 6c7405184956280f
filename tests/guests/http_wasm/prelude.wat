;; What a guest of the tests imports, and helpers. The addresses 0x8000 and up are for what host functions give; the second
;; page is for bodies.
(import "http_handler" "enable_features" (func $features (param i32) (result i32)))
(import "http_handler" "get_config" (func $config (param i32 i32) (result i32)))
(import "http_handler" "log" (func $log (param i32 i32 i32)))
(import "http_handler" "log_enabled" (func $log_enabled (param i32) (result i32)))
(import "http_handler" "get_method" (func $method (param i32 i32) (result i32)))
(import "http_handler" "set_method" (func $set_method (param i32 i32)))
(import "http_handler" "get_uri" (func $uri (param i32 i32) (result i32)))
(import "http_handler" "set_uri" (func $set_uri (param i32 i32)))
(import "http_handler" "get_protocol_version" (func $version (param i32 i32) (result i32)))
(import "http_handler" "get_source_addr" (func $source (param i32 i32) (result i32)))
(import "http_handler" "get_header_names" (func $names (param i32 i32 i32) (result i64)))
(import "http_handler" "get_header_values" (func $values (param i32 i32 i32 i32 i32) (result i64)))
(import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
(import "http_handler" "add_header_value" (func $add (param i32 i32 i32 i32 i32)))
(import "http_handler" "remove_header" (func $remove (param i32 i32 i32)))
(import "http_handler" "read_body" (func $read (param i32 i32 i32) (result i64)))
(import "http_handler" "write_body" (func $write (param i32 i32 i32)))
(import "http_handler" "get_status_code" (func $status (result i32)))
(import "http_handler" "set_status_code" (func $set_status (param i32)))
(memory (export "memory") 2)

;; Whether two texts are equal.
(func $same (param $a i32) (param $length i32) (param $b i32) (param $other i32) (result i32)
  (if (i32.ne (local.get $length) (local.get $other)) (then (return (i32.const 0))))
  (block $end
    (loop $next
      (br_if $end (i32.eqz (local.get $length)))
      (local.set $length (i32.sub (local.get $length) (i32.const 1)))
      (br_if $next (i32.eq
        (i32.load8_u (i32.add (local.get $a) (local.get $length)))
        (i32.load8_u (i32.add (local.get $b) (local.get $length)))))
      (return (i32.const 0))))
  (i32.const 1))

;; The halves of `count_len` and `eof_len`.
(func $count (param $both i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))))
(func $length (param $both i64) (result i32) (i32.wrap_i64 (local.get $both)))

;; `ctx_next`: goes on, with a context.
(func $next_with (param $context i32) (result i64)
  (i64.or (i64.shl (i64.extend_i32_u (local.get $context)) (i64.const 32)) (i64.const 1)))

;; Sets a field of a kind to a number in decimal digits.
(func $tell (param $kind i32) (param $name i32) (param $length i32) (param $number i32)
  (local $at i32)
  (local.set $at (i32.const 0x8f20))
  (loop $next
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
    (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
    (br_if $next (local.get $number)))
  (call $set (local.get $kind) (local.get $name) (local.get $length)
    (local.get $at) (i32.sub (i32.const 0x8f20) (local.get $at))))

;; Sets a field of a kind to what lies at 0x8000, every zero byte as a comma.
(func $show (param $kind i32) (param $name i32) (param $length i32) (param $size i32)
  (local $at i32)
  (local.set $at (i32.const 0x8000))
  (block $end
    (loop $next
      (br_if $end (i32.ge_u (local.get $at) (i32.add (i32.const 0x8000) (local.get $size))))
      (if (i32.eqz (i32.load8_u (local.get $at))) (then (i32.store8 (local.get $at) (i32.const 44))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next)))
  (call $set (local.get $kind) (local.get $name) (local.get $length) (i32.const 0x8000) (local.get $size)))

;; Reads a body of a kind to its end into 0x10000, `step` bytes at a time; answers with its length.
(func $read_all (param $kind i32) (param $step i32) (result i32)
  (local $at i32)
  (local $got i64)
  (local.set $at (i32.const 0x10000))
  (loop $next
    (local.set $got (call $read (local.get $kind) (local.get $at) (local.get $step)))
    (local.set $at (i32.add (local.get $at) (call $length (local.get $got))))
    (br_if $next (i32.eqz (call $count (local.get $got)))))
  (i32.sub (local.get $at) (i32.const 0x10000)))
