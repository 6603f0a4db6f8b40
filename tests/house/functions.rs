//! How long functions are, how they are written, and whether they say when they fail.

use super::{Source, comments};
use std::collections::HashMap;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Signature, Visibility};

/// A function with a body, outside of tests.
pub(crate) struct Function {
    /// Path of the file below `src/`.
    pub(crate) file: String,
    /// Name of the function.
    pub(crate) name: String,
    /// Line of the signature, from 1.
    pub(crate) line: usize,
    /// Lines from the signature to the closing brace.
    pub(crate) lines: usize,
    /// Non-blank characters of these, comments and the insides of strings aside.
    pub(crate) characters: usize,
    /// Closures that are bound to a name in the body.
    pub(crate) named_closures: usize,
    /// `match` expressions over `true` and `false`.
    pub(crate) bool_matches: usize,
    /// Documentation, where the function is visible outside of its file and returns a `Result`.
    pub(crate) fallible_doc: Option<String>,
}

/// Returns the functions of a file.
pub(crate) fn functions(source: &Source) -> Vec<Function> {
    let mut finder = Finder {
        source,
        found: Vec::new(),
    };
    source.items.iter().for_each(|item| finder.visit_item(item));
    finder.found
}

/// Returns the functions that can fail, are visible outside of their file, and do not say when they fail: those
/// without a sentence about failing, and those that share such a sentence with more than one other function.
pub(crate) fn silent(all: &[Function]) -> Vec<&Function> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for sentence in all
        .iter()
        .filter_map(|function| failing_sentence(function.fallible_doc.as_ref()?))
    {
        *uses.entry(sentence).or_default() += 1;
    }
    let says = |doc: &str| failing_sentence(doc).is_some_and(|sentence| uses[&sentence] <= 2);
    all.iter()
        .filter(|function| function.fallible_doc.as_ref().is_some_and(|doc| !says(doc)))
        .collect()
}

fn failing_sentence(doc: &str) -> Option<String> {
    const FAILING: &[&str] = &["fail", "error", "refuse", "err(", "[`err"];
    let sentences = doc
        .split(['.', ';'])
        .map(|sentence| sentence.trim().to_lowercase());
    let mut failing =
        sentences.filter(|sentence| FAILING.iter().any(|word| sentence.contains(word)));
    failing.next()
}

struct Finder<'s> {
    source: &'s Source,
    found: Vec<Function>,
}

impl Finder<'_> {
    fn add(
        &mut self,
        attributes: &[Attribute],
        is_visible: bool,
        signature: &Signature,
        body: &Block,
    ) {
        let from = signature.span().byte_range().start;
        let to = body.span().byte_range().end;
        let text = &self.source.text[from..to];
        let line = self.source.line_at(from);
        let mut habits = Habits::default();
        habits.visit_block(body);
        let is_fallible = is_visible && returns_result(signature);
        self.found.push(Function {
            file: self.source.name.clone(),
            name: signature.ident.to_string(),
            line,
            lines: self.source.line_at(to) - line + 1,
            characters: text.lines().map(comments::characters).sum(),
            named_closures: habits.named_closures,
            bool_matches: habits.bool_matches,
            fallible_doc: is_fallible.then(|| documentation(attributes)),
        });
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.add(&item.attrs, is_visible(&item.vis), &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add(&item.attrs, is_visible(&item.vis), &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.attrs, false, &item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn is_visible(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

fn returns_result(signature: &Signature) -> bool {
    let syn::ReturnType::Type(_, returned) = &signature.output else {
        return false;
    };
    let syn::Type::Path(path) = returned.as_ref() else {
        return false;
    };
    path.path
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "Result")
}

fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
    lines.collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Habits {
    named_closures: usize,
    bool_matches: usize,
}

impl<'a> Visit<'a> for Habits {
    fn visit_local(&mut self, local: &'a syn::Local) {
        let is_closure = local
            .init
            .as_ref()
            .is_some_and(|init| matches!(*init.expr, syn::Expr::Closure(_)));
        self.named_closures += usize::from(is_closure);
        visit::visit_local(self, local);
    }

    fn visit_expr_match(&mut self, expression: &'a syn::ExprMatch) {
        let is_bool = |arm: &syn::Arm| match &arm.pat {
            syn::Pat::Lit(literal) => matches!(literal.lit, syn::Lit::Bool(_)),
            _ => false,
        };
        self.bool_matches += usize::from(expression.arms.first().is_some_and(is_bool));
        visit::visit_expr_match(self, expression);
    }

    fn visit_item(&mut self, _: &'a syn::Item) {} // a function within a function counts by itself
}
