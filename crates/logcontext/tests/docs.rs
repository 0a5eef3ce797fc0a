//! The documents tell the truth about where a test is.

use std::path::Path;

#[test]
fn every_test_that_a_document_names_is_where_it_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut links = 0;
    for document in [
        "coming-from-synapse.md",
        "design.md",
        "guide.md",
        "guide/concurrency.md",
        "guide/database.md",
        "guide/http.md",
        "guide/keyed.md",
        "guide/outbox.md",
        "guide/remote-cost.md",
        "guide/server.md",
        "guide/sharing.md",
        "guide/tracing.md",
        "operating.md",
    ] {
        let folder = docs.join(document).parent().unwrap().to_owned();
        let text = std::fs::read_to_string(docs.join(document)).unwrap();
        // [`name`](../path): the function of that name is in that file; any other relative link just exists.
        for (before, rest) in text.match_indices("](").map(|(at, _)| (&text[..at], &text[at + 2..])) {
            let target = &rest[..rest.find(')').unwrap()];
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = folder.join(file);
            assert!(path.exists(), "{document}: {file} does not exist");
            let name = before.strip_suffix('`').map(|before| &before[before.rfind('`').unwrap() + 1..]);
            if let (Some(name), Some("rs")) = (name, path.extension().and_then(|ext| ext.to_str())) {
                let source = std::fs::read_to_string(&path).unwrap();
                assert!(source.contains(&format!("fn {name}(")), "{document}: no {name} in {file}");
                links += 1;
            }
        }
    }
    assert!(links > 50, "only {links} links to tests were found");
}
