;; What takes the place of `memory.fill` and `memory.copy` in modules: the same in steps of 64 KiB, between which a guest can give
;; way. An operation that is out of bounds is made at once, as the instruction itself: it traps, and has written nothing.
(module
  (memory 0)

  (func (param $to i32) (param $value i32) (param $length i32)
    (block $at-once
      (br_if $at-once (i32.le_u (local.get $length) (i32.const 0x10000)))
      (br_if $at-once (i64.gt_u
        (i64.add (i64.extend_i32_u (local.get $to)) (i64.extend_i32_u (local.get $length)))
        (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
      (loop $step
        (memory.fill (local.get $to) (local.get $value) (i32.const 0x10000))
        (local.set $to (i32.add (local.get $to) (i32.const 0x10000)))
        (local.set $length (i32.sub (local.get $length) (i32.const 0x10000)))
        (br_if $step (i32.gt_u (local.get $length) (i32.const 0x10000)))))
    (memory.fill (local.get $to) (local.get $value) (local.get $length)))

  (func (param $to i32) (param $from i32) (param $length i32)
    (block $at-once
      (br_if $at-once (i32.le_u (local.get $length) (i32.const 0x10000)))
      (br_if $at-once (i64.gt_u
        (i64.add (i64.extend_i32_u (local.get $to)) (i64.extend_i32_u (local.get $length)))
        (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
      (br_if $at-once (i64.gt_u
        (i64.add (i64.extend_i32_u (local.get $from)) (i64.extend_i32_u (local.get $length)))
        (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16))))
      (if (i32.le_u (local.get $to) (local.get $from))
        (then
          (loop $step
            (memory.copy (local.get $to) (local.get $from) (i32.const 0x10000))
            (local.set $to (i32.add (local.get $to) (i32.const 0x10000)))
            (local.set $from (i32.add (local.get $from) (i32.const 0x10000)))
            (local.set $length (i32.sub (local.get $length) (i32.const 0x10000)))
            (br_if $step (i32.gt_u (local.get $length) (i32.const 0x10000)))))
        (else
          ;; From the end, so that nothing is overwritten that is still to be read.
          (loop $step
            (local.set $length (i32.sub (local.get $length) (i32.const 0x10000)))
            (memory.copy
              (i32.add (local.get $to) (local.get $length))
              (i32.add (local.get $from) (local.get $length))
              (i32.const 0x10000))
            (br_if $step (i32.gt_u (local.get $length) (i32.const 0x10000)))))))
    (memory.copy (local.get $to) (local.get $from) (local.get $length))))
