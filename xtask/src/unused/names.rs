//! The crates that a source names.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

/// Names that can be a crate's: where each stands, nothing but a crate or something in scope can.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Reads Rust code. Comments and the insides of strings are no code.
    pub(super) fn read(&mut self, code: &str) -> Result<()> {
        let tokens = TokenStream::from_str(code).map_err(|error| anyhow!("{error}"))?;
        self.read_tokens(tokens);
        Ok(())
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn read_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<Token> = tokens.into_iter().map(|tree| self.read_tree(tree)).collect();
        for (i, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            let before = &tokens[..i];
            if follows_a_path(before) {
                continue;
            }
            let is_imported = matches!(before.last(), Some(Token::Word(w)) if w == "use" || w == "crate");
            let starts_a_path = matches!(tokens.get(i + 1..i + 3), Some([Token::Colon, Token::Colon]));
            if is_imported || starts_a_path {
                self.0.insert(word.clone());
            }
        }
    }

    /// Reads what is inside a pair of brackets, and tells what the tree looks like from outside.
    fn read_tree(&mut self, tree: TokenTree) -> Token {
        match tree {
            TokenTree::Ident(word) => Token::Word(word.to_string().trim_start_matches("r#").to_owned()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => Token::Colon,
            TokenTree::Group(group) => {
                self.read_tokens(group.stream());
                Token::Other
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => Token::Other,
        }
    }
}

enum Token {
    Word(String),
    Colon,
    Other,
}

/// Is what comes next a later part of a path, as `http` in `crate::http::get`? A path may also start with
/// colons, as in `use ::http::get`.
fn follows_a_path(before: &[Token]) -> bool {
    matches!(before, [.., Token::Word(word), Token::Colon, Token::Colon] if word != "use")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(code: &str) -> Names {
        let mut names = Names::default();
        names.read(code).unwrap();
        names
    }

    #[test]
    fn uses_of_a_crate() {
        for code in [
            "use http::Method;",
            "use http;",
            "pub use http as web;",
            "use ::http::Method;",
            "use {http::Method, std::fmt};",
            "extern crate http;",
            "fn f() -> http::Method { todo!() }",
            "#[http::main] fn main() {}",
            "#[cfg(test)] mod tests { fn f() { let x = vec![http::get()]; } }",
            "macro_rules! m { () => { $crate::f(http::get()) } }",
            "fn f() { r#http::get() }",
        ] {
            assert!(names(code).contain("http"), "{code}");
        }
    }

    #[test]
    fn other_uses_of_the_same_word() {
        for code in [
            "// http::Method",
            "/// http::Method\nfn f() {}",
            "const URL: &str = \"http::Method\";",
            "mod http { pub fn get() {} }",
            "use crate::http::get;",
            "use crate::{a, b::http::get};",
            "fn f(http: u32) -> u32 { http + 1 }",
            "struct S { http: u32 }",
        ] {
            assert!(!names(code).contain("http"), "{code}");
        }
    }
}
