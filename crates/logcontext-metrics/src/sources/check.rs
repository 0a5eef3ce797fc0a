//! Which names a source may use.

/// What the formats add to names, or keep for themselves.
const RESERVED_ENDS: [&str; 7] = ["_total", "_count", "_sum", "_bucket", "_created", "_info", "_gsum"];
/// What we call ours.
const RESERVED_STARTS: [&str; 2] = ["logcontext_", "process_"];

/// The name of a figure: lower case, without the `_total` that a counter gets.
pub(super) fn is_figure(name: &str) -> bool {
    is_name(name)
        && !name.bytes().any(|byte| byte.is_ascii_uppercase())
        && !RESERVED_ENDS.iter().any(|end| name.ends_with(end))
        && !RESERVED_STARTS.iter().any(|start| name.starts_with(start))
}

/// The labels of a series.
pub(super) fn are_labels(labels: &[(&str, &str)]) -> bool {
    labels.iter().enumerate().all(|(i, (name, _))| {
        is_name(name)
            && !name.starts_with("__")
            && !matches!(*name, "le" | "quantile")
            && !labels[..i].iter().any(|(other, _)| other == name)
    })
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_both_formats_read_and_nobody_else_uses() {
        for name in ["cache_hits", "db_pool_wait_seconds", "_x1"] {
            assert!(is_figure(name), "{name}");
        }
        for name in [
            "",
            "1st",
            "Hits",
            "cache-hits",
            "hits:rate",
            "hits ",
            "hïts",
            "hits\n",
            "hits_total",
            "waits_bucket",
            "logcontext_requests",
            "process_open_fds",
        ] {
            assert!(!is_figure(name), "{name}");
        }
    }

    #[test]
    fn labels_have_names_that_are_used_once() {
        assert!(are_labels(&[]));
        assert!(are_labels(&[("cache", ""), ("Cause", "\"\n")]));
        for labels in [
            &[("le", "1")][..],
            &[("__name__", "x")],
            &[("", "x")],
            &[("a", "1"), ("a", "2")],
            &[("a-b", "")],
        ] {
            assert!(!are_labels(labels), "{labels:?}");
        }
    }
}
