//! The names of its own crate that a source file uses, read by a parser: `use` trees, paths in
//! code, in types and in macros, with `self` and `super` resolved. Test-only code is left out.

use proc_macro2::{Span, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A module or an item by its path in the crate: `["store", "pool", "Pool"]`.
pub type Name = Vec<String>;

/// One place where a file names something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub line: usize,
    pub name: Name,
}

/// The module that a file contains; `inside` is its path below `src`.
pub fn module_of(inside: &Path) -> Name {
    let mut module: Name =
        inside.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") && module != ["main"] {
        module.pop();
    }
    module
}

/// All names of the crate that the code of this module uses, and its test-only child modules.
pub fn imports(text: &str, module: &[String]) -> (Vec<Import>, Vec<Name>) {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", module.join("::")));
    let mut found = Found { module: module.to_vec(), imports: Vec::new(), for_tests: Vec::new() };
    found.visit_file(&file);
    found.imports.sort();
    found.imports.dedup();
    (found.imports, found.for_tests)
}

struct Found {
    module: Name,
    imports: Vec<Import>,
    for_tests: Vec<Name>,
}

impl Found {
    /// Notes a path, if it leads into this crate.
    fn note(&mut self, segments: &[String], at: Span) {
        let mut base = match segments.first().map(String::as_str) {
            Some("hongyan") => Vec::new(),
            // A program below src/bin is a crate of its own.
            Some("crate") if self.module.first().is_some_and(|first| first == "bin") => {
                self.module.iter().take(2).cloned().collect()
            }
            Some("crate") => Vec::new(),
            Some("self") => self.module.clone(),
            Some("super") => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            _ => return,
        };
        let mut rest = &segments[1..];
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        self.imports.push(Import { line: at.start().line, name: base });
    }

    fn note_tree(&mut self, before: &mut Vec<String>, tree: &UseTree, at: Span) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_tree(before, &path.tree, path.ident.span());
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => self.note(before, name.ident.span()),
            UseTree::Name(name) => self.note_with(before, &name.ident),
            UseTree::Rename(rename) => self.note_with(before, &rename.ident),
            UseTree::Glob(_) => self.note(before, at),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree, at)),
        }
    }

    fn note_with(&mut self, before: &[String], last: &syn::Ident) {
        let mut segments = before.to_vec();
        segments.push(last.to_string());
        self.note(&segments, last.span());
    }

    /// Notes the paths among the tokens of a macro, which `syn` does not parse.
    fn note_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons): (Vec<String>, usize) = (Vec::new(), 0);
        let mut at = Span::call_site();
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    if path.is_empty() {
                        at = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() && colons < 2 => {
                    colons += 1;
                    continue;
                }
                _ => {}
            }
            self.note_end(&mut path, at);
            colons = 0;
            match token {
                TokenTree::Ident(ident) => {
                    at = ident.span();
                    path.push(ident.to_string());
                }
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                _ => {}
            }
        }
        self.note_end(&mut path, at);
    }

    fn note_end(&mut self, path: &mut Vec<String>, at: Span) {
        if path.len() > 1 {
            self.note(path, at);
        }
        path.clear();
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|what| what.is_ident("test")))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            if let Item::Mod(module) = item {
                let mut name = self.module.clone();
                name.push(module.ident.to_string());
                self.for_tests.push(name);
            }
            return;
        }
        match item {
            Item::Mod(module) => {
                self.module.push(module.ident.to_string());
                visit::visit_item(self, item);
                self.module.pop();
            }
            Item::Use(tree) => self.note_tree(&mut Vec::new(), &tree.tree, Span::call_site()),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first().filter(|_| segments.len() > 1) {
            self.note(&segments, first.ident.span());
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in super::super)` limits the visibility, and imports nothing.
    }

    fn visit_macro(&mut self, of: &'ast syn::Macro) {
        self.note_tokens(of.tokens.clone());
    }
}

/// The modules that each module names. A name counts for the longest module path with which it
/// begins.
pub type Graph = BTreeMap<Name, Vec<Name>>;

pub fn graph(of: &BTreeMap<Name, Vec<Import>>) -> Graph {
    let module = |name: &Name| (1..=name.len()).rev().map(|end| name[..end].to_vec()).find(|it| of.contains_key(it));
    let edges = of.iter().map(|(from, imports)| {
        let mut to: Vec<Name> = imports.iter().filter_map(|import| module(&import.name)).collect();
        to.retain(|to| to != from);
        to.sort();
        to.dedup();
        (from.clone(), to)
    });
    edges.collect()
}

/// Modules that name each other in a cycle, if there are any. Again and again, this removes the
/// modules that name none of the rest, or that none of the rest names. The modules that are left
/// are on a cycle, or on a path between two.
pub fn cycles(graph: &Graph) -> Vec<Name> {
    let mut left: Vec<Name> = graph.keys().cloned().collect();
    loop {
        let before = left.len();
        let still = left.clone();
        left.retain(|module| graph[module].iter().any(|to| still.contains(to)));
        let still = left.clone();
        left.retain(|module| still.iter().any(|from| graph[from].contains(module)));
        if left.len() == before {
            return left;
        }
    }
}
