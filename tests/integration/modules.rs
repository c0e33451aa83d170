//! Modules of one crate import from each other in one direction only.
//!
//! A module is a file. It imports from another one if its code names an item that the other file
//! defines, by `use` or by a path that begins with `crate`, `self`, `super`, or a child's name.
//! A path through `use` and `pub use` is followed to the file that defines the item, so a parent
//! that only declares and re-exports its children can be named by them. Tests are left out.
//!
//! Two imports are conventional and do not count: a type's file names the type's builder
//! (`Registry::builder`), and `service.rs` names the layer of `layer.rs` (`Observe::layer`).
//!
//! How to remove a cycle: move what both files need into a third one, or move an `impl` block
//! to the file that it needs (`impl Campanile { fn serve }` can stand in `serve.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::source::{self, Token};

/// A path in a file, as its tokens spell it, without the names that it imports.
type Names = Vec<String>;

/// A module: of a file, or inline in one.
#[derive(Default)]
struct Module {
    file: PathBuf,
    children: BTreeSet<String>,
    /// What the names of its `use` stand for.
    imports: BTreeMap<String, Names>,
    /// The paths that it names, with their lines.
    paths: Vec<(usize, Names)>,
    /// The types that it defines.
    types: BTreeSet<String>,
}

/// The modules of a crate by their paths. The crate's root has an empty one.
type Modules = BTreeMap<Names, Module>;

/// Files that import from files, with the lines.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<usize>>>;

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    file: &'a Path,
    modules: &'a mut Modules,
    /// The names of child modules that only tests have.
    of_tests: BTreeSet<Names>,
}

impl Parser<'_> {
    fn is_mark(&self, at: usize, mark: char) -> bool {
        matches!(self.tokens.get(at), Some((_, Token::Mark(found))) if *found == mark)
    }

    fn name(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((_, Token::Name(name))) => Some(name),
            _ => None,
        }
    }

    fn is_separator(&self, at: usize) -> bool {
        self.is_mark(at, ':') && self.is_mark(at + 1, ':')
    }

    fn module(&mut self, path: &[String]) -> &mut Module {
        let module = self.modules.entry(path.to_vec()).or_default();
        module.file = self.file.to_owned();
        module
    }

    /// Reads a module up to the end of its block or file.
    fn read(&mut self, path: &Names) {
        self.module(path);
        let mut depth = 0;
        while let Some((line, token)) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Mark('#') if self.is_test_attribute() => {
                    self.skip_item(path);
                    continue;
                }
                Token::Mark('{') => depth += 1,
                Token::Mark('}') if depth == 0 => return,
                Token::Mark('}') => depth -= 1,
                Token::Name(name) if name == "mod" && self.name(self.at + 1).is_some() => {
                    let child = self.name(self.at + 1).unwrap_or_default().to_owned();
                    self.module(path).children.insert(child.clone());
                    self.at += 2;
                    if self.is_mark(self.at, '{') {
                        self.at += 1;
                        self.read(&[&path[..], &[child]].concat());
                    }
                }
                Token::Name(name) if name == "struct" || name == "enum" => {
                    let name = self.name(self.at + 1).unwrap_or_default().to_owned();
                    self.module(path).types.insert(name);
                }
                Token::Name(name) if name == "use" => {
                    self.at += 1;
                    self.read_use(path, line, Vec::new());
                }
                Token::Name(_) if self.is_separator(self.at + 1) && !self.is_in_path() => {
                    let names = self.read_path();
                    let is_macro = self.is_mark(self.at, '!');
                    if !is_macro {
                        self.module(path).paths.push((line, names));
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Whether the name here goes on a path, is a macro's `$crate`, or a field's or method's.
    fn is_in_path(&self) -> bool {
        let before = |mark| self.at > 0 && self.is_mark(self.at - 1, mark);
        before('$') || before('.') || (before(':') && self.at > 1 && self.is_mark(self.at - 2, ':'))
    }

    fn read_path(&mut self) -> Names {
        let mut names = Vec::new();
        while let Some(name) = self.name(self.at) {
            names.push(name.to_owned());
            self.at += 1;
            if !self.is_separator(self.at) || self.name(self.at + 2).is_none() {
                break;
            }
            self.at += 2;
        }
        names
    }

    /// Reads a tree of `use`, which ends before a `,`, `;` or `}`.
    fn read_use(&mut self, path: &Names, line: usize, prefix: Names) {
        let mut names = prefix;
        while self.is_separator(self.at) {
            self.at += 2;
        }
        loop {
            let line = self.tokens.get(self.at).map_or(line, |(line, _)| *line);
            if self.is_mark(self.at, '{') {
                while !self.is_mark(self.at, '}') {
                    self.at += 1;
                    self.read_use(path, line, names.clone());
                }
                self.at += 1;
                return;
            }
            let Some(name) = self.name(self.at).map(str::to_owned) else {
                // A glob, or the end of a list.
                if self.is_mark(self.at, '*') {
                    self.at += 1;
                    self.module(path).paths.push((line, names));
                }
                return;
            };
            self.at += 1;
            if name != "self" || names.is_empty() {
                names.push(name);
            }
            if self.is_separator(self.at) {
                self.at += 2;
                continue;
            }
            let mut alias = names.last().cloned().unwrap_or_default();
            if self.name(self.at) == Some("as") {
                alias = self.name(self.at + 1).unwrap_or_default().to_owned();
                self.at += 2;
            }
            let module = self.module(path);
            module.paths.push((line, names.clone()));
            module.imports.insert(alias, names);
            return;
        }
    }

    /// Whether `#[cfg(test)]`, `#[cfg(all(test, …))]` or `#[test]` begins here.
    fn is_test_attribute(&self) -> bool {
        let names = (self.at..self.at + 7).filter_map(|at| self.name(at));
        matches!(
            names.take(3).collect::<Vec<_>>()[..],
            ["test", ..] | ["cfg", "test", ..] | ["cfg", "all", "test"]
        )
    }

    /// Skips an attribute, and the item after it.
    fn skip_item(&mut self, path: &[String]) {
        while self.is_mark(self.at, '#') {
            self.at += 1;
            self.skip_group('[', ']');
        }
        if self.name(self.at) == Some("mod") {
            let child = self.name(self.at + 1).unwrap_or_default().to_owned();
            self.of_tests.insert([path, &[child]].concat());
        }
        let is_use = self.name(self.at) == Some("use");
        while self.at < self.tokens.len() && !self.is_mark(self.at, '}') {
            if self.is_mark(self.at, '{') {
                self.skip_group('{', '}');
                if !is_use {
                    return;
                }
            } else if self.is_mark(self.at, ';') {
                self.at += 1;
                return;
            } else {
                self.at += 1;
            }
        }
    }

    fn skip_group(&mut self, open: char, close: char) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            depth += usize::from(self.is_mark(self.at, open));
            depth -= usize::from(self.is_mark(self.at, close));
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

/// Reads the modules of a crate from its `src`.
fn modules(src: &Path) -> Modules {
    let mut modules = Modules::new();
    let mut of_tests = BTreeSet::new();
    for file in source::files(src) {
        let relative = file.strip_prefix(src).unwrap().with_extension("");
        let mut path: Names = relative
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        path.pop_if(|name| name == "mod" || name == "lib");
        if file.extension().is_none_or(|extension| extension != "rs")
            || path.contains(&"tests".to_owned())
        {
            continue;
        }
        let mut tokens = source::tokens(&fs::read_to_string(&file).unwrap());
        tokens.retain(|(_, token)| !matches!(token, Token::Comment(_)));
        let mut parser = Parser {
            tokens: &tokens,
            at: 0,
            file: &file,
            modules: &mut modules,
            of_tests: BTreeSet::new(),
        };
        parser.read(&path);
        of_tests.append(&mut parser.of_tests);
    }
    modules.retain(|path, _| !of_tests.iter().any(|of_tests| path.starts_with(of_tests)));
    modules
}

/// Returns the module that defines the item of a path, if it is one of this crate, and the item's
/// name, which is empty if the path names the module.
fn resolve(
    modules: &Modules,
    from: &Names,
    path: &[String],
    steps: usize,
) -> Option<(Names, String)> {
    let mut module = from.clone();
    let mut is_relative = false;
    for (index, name) in path.iter().enumerate() {
        let rest = &path[index + 1..];
        let is_first = index == 0;
        match name.as_str() {
            "crate" if is_first => module.clear(),
            "self" if is_first => {}
            "super" => {
                module.pop()?;
            }
            name if modules.get(&module)?.children.contains(name) => module.push(name.to_owned()),
            name => {
                let imported = modules[&module].imports.get(name);
                return match imported {
                    // A name is not imported by itself: `use http::Uri` in a module `http`.
                    Some(imported)
                        if steps < 16 && !(is_first && module == *from && imported == path) =>
                    {
                        resolve(modules, &module, &[imported, rest].concat(), steps + 1)
                    }
                    _ => is_relative.then(|| (module, name.to_owned())),
                };
            }
        }
        is_relative = true;
    }
    Some((module, String::new()))
}

/// Whether a file may name an item although the item's file imports from it.
fn is_conventional(module: &Module, target: &Module, item: &str) -> bool {
    let is_builder = item
        .strip_suffix("Builder")
        .is_some_and(|built| built.is_empty() || module.types.contains(built));
    let is_layer = module.file.ends_with("service.rs")
        && target.file == module.file.with_file_name("layer.rs")
        && item.ends_with("Layer");
    is_builder || is_layer
}

/// Returns which file of a crate imports from which.
fn imports(modules: &Modules) -> Imports {
    let mut imports = Imports::new();
    for (path, module) in modules {
        for (line, names) in &module.paths {
            let Some((target, item)) = resolve(modules, path, names, 0) else {
                continue;
            };
            if let Some(target) = modules.get(&target)
                && target.file != module.file
                && !is_conventional(module, target, &item)
            {
                let lines = imports.entry(module.file.clone()).or_default();
                lines.entry(target.file.clone()).or_default().insert(*line);
            }
        }
    }
    imports
}

/// Returns the shortest way over imports from a file back to itself.
fn cycle<'a>(imports: &'a Imports, file: &'a PathBuf) -> Option<Vec<&'a PathBuf>> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in imports
            .get(*way.last()?)
            .into_iter()
            .flat_map(BTreeMap::keys)
        {
            if next == file {
                return Some([&way[..], &[next]].concat());
            }
            if seen.insert(next) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

/// Describes the shortest cycle of each file that is in one: the names, and the lines that import.
fn cycles(src: &Path) -> String {
    let modules = modules(src);
    let imports = imports(&modules);
    let name = |file: &Path| file.strip_prefix(src).unwrap().display().to_string();
    let found: Vec<_> = imports
        .keys()
        .filter_map(|file| cycle(&imports, file))
        .collect();
    let mut reported = BTreeSet::new();
    let mut text = String::new();
    for cycle in &found {
        if !reported.insert(cycle.iter().copied().collect::<BTreeSet<_>>()) {
            continue;
        }
        let names: Vec<_> = cycle.iter().map(|file| name(file)).collect();
        text += &format!("  {}\n", names.join(" -> "));
        for edge in cycle.windows(2) {
            let source = fs::read_to_string(edge[0]).unwrap();
            for line in &imports[edge[0]][edge[1]] {
                let code = source.lines().nth(line - 1).unwrap_or_default().trim();
                text += &format!("    {}:{line}: {code}\n", name(edge[0]));
            }
        }
    }
    text
}

#[test]
fn modules_of_a_crate_import_in_one_direction() {
    let crates = Path::new(source::ROOT).join("crates");
    let mut text = String::new();
    for entry in fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let cycles = cycles(&path.join("src"));
        if !cycles.is_empty() {
            text += &format!("{name}: modules are in cycles\n{cycles}");
        }
    }
    assert!(text.is_empty(), "\n{text}");
}

#[test]
fn a_module_is_a_file_beside_its_directory() {
    let root = Path::new(source::ROOT);
    let files = source::files(&root.join("crates"));
    // Cargo takes other files of `tests` for tests.
    let is_mod_rs =
        |file: &&PathBuf| file.ends_with("mod.rs") && file.iter().any(|name| name == "src");
    let found: Vec<_> = files.iter().filter(is_mod_rs).collect();
    assert!(found.is_empty(), "{found:?}: expected `x.rs` beside `x/`");
}

#[test]
fn cycles_are_found_through_re_exports_and_paths() {
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &str) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(cycles(directory.path()), expected);
    }

    let lib = (
        "lib.rs",
        "mod a;\nmod b;\npub use a::A;\npub use b::{B, make};",
    );
    // Through a re-export, and a path in an expression.
    check(
        &[
            lib,
            ("a.rs", "use crate::B;\npub struct A(B);"),
            (
                "b.rs",
                "// crate::A\npub fn make() { crate::a::A::new() }\npub struct B;",
            ),
        ],
        "  a.rs -> b.rs -> a.rs\n    a.rs:1: use crate::B;\n    b.rs:2: pub fn make() { crate::a::A::new() }\n",
    );
    // Not through comments, strings, tests, or the path to an item of a third file.
    check(
        &[
            lib,
            (
                "a.rs",
                "use crate::B;\n#[cfg(test)]\nmod tests { use super::*; }\npub struct A(B);",
            ),
            (
                "b.rs",
                "#[cfg(test)]\nuse crate::A;\n#[cfg(test)]\nmod tests { use crate::A; }\nconst A: &str = r#\"crate::A \"#;",
            ),
            ("a/tests.rs", "use crate::A;"),
        ],
        "",
    );
    // A child may use what its parent re-exports, and not what its parent defines.
    check(
        &[
            ("lib.rs", "mod a;"),
            (
                "a.rs",
                "mod b;\nmod c;\npub(crate) use self::b::B;\npub(crate) use self::c::C;",
            ),
            ("a/b.rs", "pub(crate) struct B;"),
            ("a/c.rs", "use super::B;\npub(crate) struct C(B);"),
        ],
        "",
    );
    check(
        &[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b;\nstruct A(b::B);"),
            ("a/b.rs", "pub(super) struct B(super::A);"),
        ],
        "  a/b.rs -> a.rs -> a/b.rs\n    a/b.rs:1: pub(super) struct B(super::A);\n    a.rs:2: struct A(b::B);\n",
    );
    // A type names its builder.
    check(
        &[
            lib,
            ("a.rs", "use crate::b::ABuilder;\npub struct A;"),
            ("b.rs", "use crate::A;\npub struct ABuilder;"),
        ],
        "",
    );
}
