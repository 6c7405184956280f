;; What a guest of the tests imports, how it gives memory, and helpers. The addresses 0x8000 and up are for answers of
;; host functions, and the second page is given away piece by piece, again and again.
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_shared_data" (func $shared (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_shared_data" (func $share (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
(import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
(import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
(import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
(import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
(import "env" "proxy_get_metric" (func $metric (param i32 i32) (result i32)))
(import "env" "proxy_set_tick_period_milliseconds" (func $ticks (param i32) (result i32)))
(import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
(import "env" "proxy_done" (func $done (result i32)))
(import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response"
  (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_http_call"
  (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 2)
(global $free (mut i32) (i32.const 0x10000))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (local $at i32)
  (if (i32.gt_u (i32.add (global.get $free) (local.get $size)) (i32.const 0x20000))
    (then (global.set $free (i32.const 0x10000))))
  (local.set $at (global.get $free))
  (global.set $free (i32.add (global.get $free) (local.get $size)))
  (local.get $at))

;; What host functions gave last: its address is at 0x8000, its length at 0x8004.
(func $given (result i32) (i32.load (i32.const 0x8000)))
(func $given_length (result i32) (i32.load (i32.const 0x8004)))

;; Writes a status as one letter, a for 0, into the field `name` of the request's head.
(func $tell (param $name i32) (param $length i32) (param $status i32)
  (i32.store8 (i32.const 0x8100) (i32.add (i32.const 97) (local.get $status)))
  (drop (call $replace (i32.const 0) (local.get $name) (local.get $length) (i32.const 0x8100) (i32.const 1))))

;; Writes what was given last into the field `name` of a map, or the status, if that is not 0.
(func $show (param $map i32) (param $name i32) (param $length i32) (param $status i32)
  (if (local.get $status)
    (then
      (i32.store8 (i32.const 0x8100) (i32.add (i32.const 97) (local.get $status)))
      (drop (call $replace (local.get $map) (local.get $name) (local.get $length) (i32.const 0x8100) (i32.const 1))))
    (else
      (drop (call $replace (local.get $map) (local.get $name) (local.get $length)
        (call $given) (call $given_length))))))

;; The number in decimal digits, at 0x8200; answers with address and length.
(func $digits (param $number i32) (result i32 i32)
  (local $at i32)
  (local.set $at (i32.const 0x8220))
  (loop $next
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
    (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
    (br_if $next (local.get $number)))
  (local.get $at)
  (i32.sub (i32.const 0x8220) (local.get $at)))
