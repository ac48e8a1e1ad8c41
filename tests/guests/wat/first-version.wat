;; A component built against nango:functions@1.0.0, the first version. Its one action gives the connection's metadata.
(component
  (import "nango:functions/types@1.0.0" (instance $types
    (type $pair (tuple string string))
    (export "pair" (type $exported-pair (eq $pair)))
    (type $error (record (field "code" string) (field "message" string) (field "details" (list $exported-pair))))
    (export "error" (type (eq $error)))))
  (alias export $types "pair" (type $pair))
  (alias export $types "error" (type $error))
  (import "nango:functions/connection@1.0.0" (instance $connection
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $own-error (eq $outer-error)))
    (export "metadata" (func (result (result string (error $own-error)))))))

  (core module $libc
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      global.get $next
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
  (core instance $libc (instantiate $libc))
  (core func $metadata (canon lower (func $connection "metadata") (memory $libc "memory") (realloc (func $libc "realloc"))))

  (core module $main
    (import "host" "metadata" (func $metadata (param i32)))
    (import "libc" "memory" (memory 1))
    ;; Where the text of `describe` is and how long.
    (data (i32.const 0) "\40\00\00\00\44\00\00\00")
    (data (i32.const 64) "{\"functions\":[{\"name\":\"metadata\",\"kind\":\"action\",\"description\":\"\"}]}")
    (func (export "describe") (result i32) i32.const 0)
    ;; What `metadata` gives has the type of what `run` gives.
    (func (export "run") (param i32 i32 i32 i32) (result i32)
      (call $metadata (i32.const 1024))
      i32.const 1024))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance (export "metadata" (func $metadata))))))

  (func (export "describe") (result string)
    (canon lift (core func $main "describe") (memory $libc "memory") string-encoding=utf8))
  (func (export "run") (param "function" string) (param "trigger" (list $pair)) (result (result string (error $error)))
    (canon lift (core func $main "run") (memory $libc "memory") (realloc (func $libc "realloc")) string-encoding=utf8)))
