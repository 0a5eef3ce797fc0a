//! The examples in documentation that rustdoc compiles.

/// The Rust code between the fences of a text in Markdown.
pub(super) fn examples(markdown: &str) -> Vec<String> {
    let mut examples = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let code: Vec<&str> =
            lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
        if is_rust(info) {
            examples.push(code.join("\n"));
        }
    }
    examples
}

/// The text of the documentation comments in a source, as one text.
pub(super) fn doc_comments(source: &str) -> String {
    let mut prose = String::new();
    for line in source.lines().map(str::trim_start) {
        if let Some(line) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The paths of Markdown files that a source includes.
pub(super) fn included(source: &str) -> Vec<&str> {
    source
        .split("include_str!(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(path, _)| path)
        .filter(|path| path.ends_with(".md"))
        .collect()
}

fn is_rust(info: &str) -> bool {
    info.split(',').map(str::trim).all(|word| {
        matches!(word, "" | "rust" | "no_run" | "should_panic" | "compile_fail" | "ignore")
            || word.starts_with("edition")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rust_is_an_example() {
        let text =
            "# Title\n```\nuse a::b;\n```\ntext\n```toml\n[a]\n```\n  ```rust,no_run\n  c::d();\n  ```\n";
        assert_eq!(examples(text), ["use a::b;", "  c::d();"]);
    }

    #[test]
    fn examples_in_comments() {
        let source = "//! ```\n//! a::b();\n//! ```\n\n// ```\n// c::d();\n// ```\nfn f() {}\n";
        assert_eq!(examples(&doc_comments(source)), [" a::b();"]);
    }

    #[test]
    fn included_texts() {
        let source =
            "#![doc = include_str!(\"../README.md\")]\nconst PAGE: &str = include_str!(\"page.html\");";
        assert_eq!(included(source), ["../README.md"]);
    }
}
