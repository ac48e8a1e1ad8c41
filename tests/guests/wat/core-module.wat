;; A core module, which is no component.
(module
  (func (export "run") (result i32) i32.const 42))
