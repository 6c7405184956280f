;; A table of two routes, `a` and `b`, which run the middleware of the same name. Refuses any configuration, at `/bad`.
;; Where it selects, the path says what it does: `/a` and `/b` select, `/trap` traps, `/spin` never returns, `/fail`
;; fails in good order, `/other` selects what is no route; anything else is left to others.
(module
  (import "tidegate:table/request@0.1.0" "path" (func $path (param i32)))
  (memory (export "memory") 2)
  ;; ok: {routes, selects}
  (data (i32.const 16) "\00\00\00\00\80\00\00\00\02\00\00\00\01")
  ;; err: one problem
  (data (i32.const 32) "\01\00\00\00\40\00\00\00\01\00\00\00")
  (data (i32.const 64) "\00\02\00\00\04\00\00\00\10\02\00\00\0a\00\00\00")
  ;; two routes: where name and definition are
  (data (i32.const 128) "\00\03\00\00\01\00\00\00\00\04\00\00\13\00\00\00\01\03\00\00\01\00\00\00\20\04\00\00\13\00\00\00")
  (data (i32.const 512) "/bad")
  (data (i32.const 528) "not wanted")
  (data (i32.const 768) "abother")
  (data (i32.const 1024) "{\"middleware\": \"a\"}")
  (data (i32.const 1056) "{\"middleware\": \"b\"}")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get $size)) (i32.const 7)) (i32.const -8))))

  (func (export "tidegate:table/routing@0.1.0#table") (param $at i32) (param $length i32) (result i32)
    (if (result i32) (i32.eq (local.get $length) (i32.const 2)) (then (i32.const 16)) (else (i32.const 32))))

  ;; result<option<string>, string> at 2048; the path's place and length at 2064.
  (func (export "tidegate:table/routing@0.1.0#select") (result i32)
    (local $letter i32)
    (global.set $heap (i32.const 65536))
    (call $path (i32.const 2064))
    (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 2064))))
    (i32.store (i32.const 2048) (i32.const 0))
    (i32.store (i32.const 2052) (i32.const 0))
    (if (i32.eq (local.get $letter) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (local.get $letter) (i32.const 115)) (then (loop $spin (br $spin))))
    (if (i32.eq (local.get $letter) (i32.const 102)) (then (return (call $answer (i32.const 1) (i32.const 528) (i32.const 10)))))
    (if (i32.eq (local.get $letter) (i32.const 97)) (then (return (call $answer (i32.const 0) (i32.const 768) (i32.const 1)))))
    (if (i32.eq (local.get $letter) (i32.const 98)) (then (return (call $answer (i32.const 0) (i32.const 769) (i32.const 1)))))
    (if (i32.eq (local.get $letter) (i32.const 111)) (then (return (call $answer (i32.const 0) (i32.const 770) (i32.const 5)))))
    (i32.const 2048))

  (func $answer (param $error i32) (param $at i32) (param $length i32) (result i32)
    (i32.store (i32.const 2048) (local.get $error))
    (if (local.get $error)
      (then
        (i32.store (i32.const 2052) (local.get $at))
        (i32.store (i32.const 2056) (local.get $length)))
      (else
        (i32.store (i32.const 2052) (i32.const 1))
        (i32.store (i32.const 2056) (local.get $at))
        (i32.store (i32.const 2060) (local.get $length))))
    (i32.const 2048)))
