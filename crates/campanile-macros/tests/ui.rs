//! What the compiler says of mistakes: the text, and the place that it points at.

use std::process::Command;

#[test]
fn mistakes_are_pointed_at() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // What is said of types is the compiler's own text, which another version may word in another way.
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().unwrap();
    if version.stdout.starts_with(b"rustc 1.95.") {
        cases.compile_fail("tests/ui/bounds/*.rs");
    }
}
