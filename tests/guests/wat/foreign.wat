;; A component that wants something no function gets.
(component
  (import "acme:thing/keys@1.0.0" (instance $keys
    (export "open" (func (result string)))))
  (import "nango:functions/types@1.0.0" (instance $types
    (type $pair (tuple string string))
    (export "pair" (type $exported-pair (eq $pair)))
    (type $error (record (field "code" string) (field "message" string) (field "details" (list $exported-pair))))
    (export "error" (type (eq $error)))))
  (alias export $types "pair" (type $pair))
  (alias export $types "error" (type $error))

  (core module $main
    (memory (export "memory") 1)
    (data (i32.const 16) "{\"functions\":[]}")
    ;; Where the text is and how long.
    (data (i32.const 0) "\10\00\00\00\10\00\00\00")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
    (func (export "describe") (result i32) i32.const 0)
    (func (export "run") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $main (instantiate $main))

  (func (export "describe") (result string)
    (canon lift (core func $main "describe") (memory (core memory $main "memory")) string-encoding=utf8))
  (func (export "run") (param "function" string) (param "trigger" (list $pair)) (result (result string (error $error)))
    (canon lift (core func $main "run") (memory (core memory $main "memory")) (realloc (core func $main "realloc")) string-encoding=utf8)))
