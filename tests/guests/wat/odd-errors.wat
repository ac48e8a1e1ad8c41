;; Fails in ways that no function of the SDK does: with a code that nobody knows, with none at all, and with something that is no code.
(component
  (import "nango:functions/types@1.2.0" (instance $types
    (type $pair (tuple string string))
    (export "pair" (type $exported-pair (eq $pair)))
    (type $error (record (field "code" string) (field "message" string) (field "details" (list $exported-pair))))
    (export "error" (type (eq $error)))))
  (alias export $types "pair" (type $types-pair))
  (alias export $types "error" (type $error))

  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
  (core instance $libc (instantiate $libc))

  (core module $main
    (import "libc" "memory" (memory 1))
    ;; Where the text of `describe` is and how long.
    (data (i32.const 0) "\40\00\00\00\a5\00\00\00")
    (data (i32.const 64) "{\"functions\":[{\"name\":\"known\",\"kind\":\"action\",\"description\":\"\"},{\"name\":\"silent\",\"kind\":\"action\",\"description\":\"\"},{\"name\":\"wild\",\"kind\":\"action\",\"description\":\"\"}]}")
    ;; Results: the case `error`, then code, message and details, each as an address and a length.
    (data (i32.const 1024) "\01\00\00\00\00\08\00\00\0a\00\00\00\40\08\00\00\04\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 1088) "\01\00\00\00\00\08\00\00\00\00\00\00\40\08\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 1152) "\01\00\00\00\80\08\00\00\0c\00\00\00\40\08\00\00\04\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 2048) "tea_is_off")
    (data (i32.const 2112) "cold")
    (data (i32.const 2176) "what? a code")
    (func (export "describe") (result i32) i32.const 0)
    ;; The function's name tells which: k, s or w.
    (func (export "run") (param i32 i32 i32 i32) (result i32)
      (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 107)) (then (return (i32.const 1024))))
      (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 115)) (then (return (i32.const 1088))))
      i32.const 1152))
  (core instance $main (instantiate $main (with "libc" (instance $libc))))

  (func (export "describe") (result string)
    (canon lift (core func $main "describe") (memory $libc "memory") string-encoding=utf8))
  (func (export "run") (param "function" string) (param "trigger" (list $types-pair)) (result (result string (error $error)))
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")) string-encoding=utf8)))
