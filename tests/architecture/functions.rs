//! The functions of a source file and their lines, found by a parser: of any visibility and kind,
//! in modules, traits, impls and other functions.

use proc_macro2::Span;
use syn::visit::{self, Visit};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The line of its `fn`.
    pub line: usize,
    /// The lines from there to its closing brace.
    pub lines: usize,
}

/// All functions of a source file.
pub fn functions(text: &str) -> Vec<Function> {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let mut found = Found(Vec::new());
    found.visit_file(&file);
    found.0
}

struct Found(Vec<Function>);

impl Found {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let line = |span: Span| span.start().line;
        let (first, last) = (line(signature.fn_token.span), line(body.brace_token.span.close()));
        self.0.push(Function { name: signature.ident.to_string(), line: first, lines: last - first + 1 });
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.note(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn functions_of_every_kind_are_found() {
    for head in [
        "fn f()",
        "pub fn f()",
        "pub(crate) fn f()",
        "pub(in crate::chat) fn f()",
        "const fn f()",
        "pub(super) async fn f()",
        "extern \"C\" fn f()",
        "#[inline]\nfn f<'a, T: Clone>(of: &'a T)\nwhere\n    T: Copy,\n",
    ] {
        for (before, after) in [("", ""), ("mod m {\n", "}\n"), ("impl S {\n", "}\n"), ("fn g() {\n", "}\n")] {
            let text = format!("{before}{head} {{\n    first();\n    second();\n}}\n{after}");
            let lines = text.lines().count() - before.lines().count() - after.lines().count();
            let lines = lines - usize::from(head.starts_with("#[inline]"));
            let found = functions(&text);
            let function = found.iter().find(|of| of.name == "f").unwrap_or_else(|| panic!("not found: {text}"));
            assert_eq!(function.lines, lines, "{text}");
        }
    }
    let in_trait = functions("trait T {\n    fn no_body();\n    fn f() {\n        g();\n    }\n}\n");
    assert_eq!(in_trait, [Function { name: "f".to_owned(), line: 3, lines: 3 }]);
}
