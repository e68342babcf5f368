;; A small detector written by hand: the score is the distance from an exponentially weighted mean.
;; `;;{{NAME}}` marks are replaced by hostile code; an honest guest leaves them as comments.
;;
;; 16 strings · 1024 results · 4096 keys · 36864 means · 69632 seen · 81920 heap. Column ids are used modulo 4096.
(module
  ;;{{IMPORTS}}
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 81920))
  (data (i32.const 16) "{{NAME}}")
  (data (i32.const 96) "1.0.0")
  (data (i32.const 112) "alpha")
  (data (i32.const 128) "weight of a new value")
  (data (i32.const 160) "state of another length")
  (global $alpha (mut f64) (f64.const 0.125))

  (func $reset (global.set $heap (i32.const 81920)))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    ;;{{REALLOC}}
    (local.set $at (i32.and
      (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (block $fits
      (loop $more
        (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $more)))
    (local.get $at))

  (func $list (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 1024) (local.get $at))
    (i32.store (i32.const 1028) (local.get $len))
    (i32.const 1024))

  (func $refuse
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 160)) (i32.store (i32.const 1032) (i32.const 5))
    (i32.store (i32.const 1036) (i32.const 7))
    (i32.store (i32.const 1040) (i32.const 160)) (i32.store (i32.const 1044) (i32.const 23)))

  (func $key (param $slot i32) (result i32) (i32.add (i32.const 4096) (i32.shl (local.get $slot) (i32.const 3))))
  (func $mean (param $slot i32) (result i32) (i32.add (i32.const 36864) (i32.shl (local.get $slot) (i32.const 3))))
  (func $seen (param $slot i32) (result i32) (i32.add (i32.const 69632) (local.get $slot)))
  (func $slot (param $ids i32) (param $i i32) (result i32)
    (i32.and (i32.load (i32.add (local.get $ids) (i32.shl (local.get $i) (i32.const 2)))) (i32.const 4095)))

  (func (export "describe") (result i32)
    ;;{{DESCRIBE}}
    (i32.store (i32.const 1024) (i32.const 16)) (i32.store (i32.const 1028) (i32.const {{NAME_LEN}}))
    (i32.store (i32.const 1032) (i32.const 96)) (i32.store (i32.const 1036) (i32.const 5))
    (i32.store8 (i32.const 1040) (i32.const 0))
    (i32.store (i32.const 1044) (i32.const 1))
    (i32.store (i32.const 1048) (i32.const 8))
    (i32.store (i32.const 1052) (i32.const 0))
    (i32.store (i32.const 1056) (i32.const 1088)) (i32.store (i32.const 1060) (i32.const 1))
    (i32.store (i32.const 1088) (i32.const 112)) (i32.store (i32.const 1092) (i32.const 5))
    (f64.store (i32.const 1096) (f64.const 0.125))
    (f64.store (i32.const 1104) (f64.const 0))
    (f64.store (i32.const 1112) (f64.const 1))
    (i32.store (i32.const 1120) (i32.const 128)) (i32.store (i32.const 1124) (i32.const 21))
    (i32.const 1024))

  (func (export "configure") (param $parameters i32) (param $n i32) (result i32)
    (global.set $alpha (f64.load offset=8 (local.get $parameters)))
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.const 1024))

  (func (export "series-added") (param $series i32) (param $n i32) (result i32)
    (local $slot i32)
    ;;{{ADDED}}
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $slot (i32.and (i32.load (local.get $series)) (i32.const 4095)))
        (i64.store (call $key (local.get $slot)) (i64.load offset=8 (local.get $series)))
        (i32.store8 (call $seen (local.get $slot)) (i32.const 0))
        (if (i32.eq (i32.load offset=76 (local.get $series)) (i32.const 8))
          (then
            (f64.store (call $mean (local.get $slot)) (f64.load (i32.load offset=72 (local.get $series))))
            (i32.store8 (call $seen (local.get $slot)) (i32.const 1))))
        (local.set $series (i32.add (local.get $series) (i32.const 80)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
    (call $list (i32.const 0) (i32.const 0)))

  (func (export "series-removed") (param $ids i32) (param $n i32) (call $reset))

  (func (export "observe")
    (param $ids i32) (param $n i32) (param $dt i32) (param $dt_n i32)
    (param $flags i32) (param $flags_n i32) (param $values i32) (param $values_n i32) (result i32)
    (local $i i32) (local $out i32) (local $slot i32) (local $value f64) (local $mean f64)
    ;;{{OBSERVE}}
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.shl (local.get $n) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $slot (call $slot (local.get $ids) (local.get $i)))
        (local.set $value (f64.load (i32.add (local.get $values) (i32.shl (local.get $i) (i32.const 3)))))
        (if (i32.load8_u (call $seen (local.get $slot)))
          (then (local.set $mean (f64.load (call $mean (local.get $slot)))))
          (else (local.set $mean (f64.const nan))))
        (f32.store
          (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2)))
          (f32.demote_f64 (f64.abs (f64.sub (local.get $value) (local.get $mean)))))
        (if (i32.eqz (i32.and (i32.load8_u (i32.add (local.get $flags) (local.get $i))) (i32.const 4)))
          (then
            (f64.store (call $mean (local.get $slot))
              (if (result f64) (i32.load8_u (call $seen (local.get $slot)))
                (then (f64.add (local.get $mean)
                  (f64.mul (global.get $alpha) (f64.sub (local.get $value) (local.get $mean)))))
                (else (local.get $value))))
            (i32.store8 (call $seen (local.get $slot)) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $list (local.get $out) (local.get $n)))

  (func (export "observe-logs")
    (param i32) (param i32) (param i32) (param i32) (param i32) (param i32) (param i32) (param i32) (result i32)
    (unreachable))

  (func (export "explain") (param $ids i32) (param $n i32) (result i32)
    (local $i i32) (local $out i32) (local $at i32)
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $n) (i32.const 48))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $at (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 48))))
        (memory.fill (local.get $at) (i32.const 0) (i32.const 48))
        (i32.store (local.get $at) (i32.load (i32.add (local.get $ids) (i32.shl (local.get $i) (i32.const 2)))))
        (i32.store offset=4 (local.get $at) (i32.const 1))
        (f64.store offset=16 (local.get $at) (f64.load (call $mean (call $slot (local.get $ids) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $list (local.get $out) (local.get $n)))

  (func (export "snapshot") (param $ids i32) (param $n i32) (result i32)
    (local $i i32) (local $out i32) (local $at i32) (local $slot i32)
    ;;{{SNAPSHOT}}
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.shl (local.get $n) (i32.const 4))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $slot (call $slot (local.get $ids) (local.get $i)))
        (local.set $at (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 4))))
        (i64.store (local.get $at) (i64.load (call $key (local.get $slot))))
        (i32.store offset=8 (local.get $at) (call $mean (local.get $slot)))
        (i32.store offset=12 (local.get $at) (i32.const 8))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $list (local.get $out) (local.get $n)))

  (func (export "restore") (param $ids i32) (param $n i32) (param $states i32) (param $states_n i32) (result i32)
    (local $i i32) (local $at i32) (local $slot i32)
    ;;{{RESTORE}}
    (i32.store8 (i32.const 1024) (i32.const 0))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $at (i32.add (local.get $states) (i32.shl (local.get $i) (i32.const 4))))
        (if (i32.ne (i32.load offset=12 (local.get $at)) (i32.const 8))
          (then (call $refuse))
          (else
            (local.set $slot (call $slot (local.get $ids) (local.get $i)))
            (f64.store (call $mean (local.get $slot)) (f64.load (i32.load offset=8 (local.get $at))))
            (i32.store8 (call $seen (local.get $slot)) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.const 1024))

  (func (export "cabi_post_series-added") (param i32) (call $reset))
  (func (export "cabi_post_configure") (param i32) (call $reset))
  (func (export "cabi_post_observe") (param i32) (call $reset))
  (func (export "cabi_post_explain") (param i32) (call $reset))
  (func (export "cabi_post_snapshot") (param i32) (call $reset))
  (func (export "cabi_post_restore") (param i32) (call $reset))
)
