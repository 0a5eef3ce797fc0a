//! The header's grammar: <https://www.w3.org/TR/server-timing/>.

use std::borrow::Cow;

/// A metric of a header's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metric<'a> {
    pub(super) name: &'a str,
    /// The first of each is what counts.
    pub(super) dur: Option<Cow<'a, str>>,
    pub(super) desc: Option<Cow<'a, str>>,
}

/// The metrics of a header's value. Whatever is wrong with one is left out, as browsers do.
pub(super) struct Metrics<'a>(pub(super) &'a str);

impl<'a> Iterator for Metrics<'a> {
    type Item = Metric<'a>;

    fn next(&mut self) -> Option<Metric<'a>> {
        self.0 = self.0.trim_start_matches([',', ' ', '\t']);
        if self.0.is_empty() {
            return None;
        }
        let mut metric = Metric { name: trim(self.until(&[';', ','])), ..Metric::default() };
        while self.skip(';') {
            let name = trim(self.until(&['=', ';', ',']));
            let value = if self.skip('=') { Some(self.value()) } else { None };
            // What is behind it is none of it.
            self.until(&[';', ',']);
            let param = match name {
                _ if name.eq_ignore_ascii_case("dur") => &mut metric.dur,
                _ if name.eq_ignore_ascii_case("desc") => &mut metric.desc,
                _ => continue,
            };
            if param.is_none() {
                *param = Some(value.unwrap_or_default());
            }
        }
        Some(metric)
    }
}

impl<'a> Metrics<'a> {
    fn value(&mut self) -> Cow<'a, str> {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        if self.skip('"') { self.quoted() } else { trim(self.until(&[';', ','])).into() }
    }

    /// Up to its quotation mark, or to the end.
    fn quoted(&mut self) -> Cow<'a, str> {
        let plain = self.until(&['"', '\\']);
        if !self.0.starts_with('\\') {
            self.skip('"');
            return plain.into();
        }
        let mut text = plain.to_owned();
        let mut rest = self.0.chars();
        loop {
            match rest.next() {
                None | Some('"') => break,
                Some('\\') => text.extend(rest.next()),
                Some(other) => text.push(other),
            }
        }
        self.0 = rest.as_str();
        text.into()
    }

    /// What is before the first of these, or the end.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let at = self.0.find(ends).unwrap_or(self.0.len());
        let (before, rest) = self.0.split_at(at);
        self.0 = rest;
        before
    }

    fn skip(&mut self, expected: char) -> bool {
        let rest = self.0.strip_prefix(expected);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Vec<(&str, Option<String>, Option<String>)> {
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        Metrics(value).map(|metric| (metric.name, owned(metric.dur), owned(metric.desc))).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn metrics_have_names_and_parameters_in_any_order() {
        assert_eq!(read("miss, ,cpu;dur=1.5"), [("miss", None, None), ("cpu", some("1.5"), None)]);
        let both = ("db", some("53"), some("a; b, c"));
        assert_eq!(read(r#"db;dur=53;desc="a; b, c""#), std::slice::from_ref(&both));
        assert_eq!(read("db\t; DESC = \"a; b, c\" ;\tDur =\t53"), [both]);
        assert_eq!(read(r#"a;desc="say \"hi\\\"";dur=1"#), [("a", some("1"), some(r#"say "hi\""#))]);
    }

    #[test]
    fn the_first_of_a_parameter_counts_and_unknown_ones_do_not() {
        assert_eq!(read("a;dur=1;dur=2;x=3;dur"), [("a", some("1"), None)]);
        assert_eq!(read("a;dur;dur=2"), [("a", some(""), None)]);
    }

    #[test]
    fn what_is_wrong_is_left_out_and_what_comes_after_it_is_read() {
        assert_eq!(
            read(r#"a;dur="1"2;desc=x y, b;;=;dur=3, c;desc="open, d;dur=4"#),
            [("a", some("1"), some("x y")), ("b", some("3"), None), ("c", None, some("open, d;dur=4"))]
        );
    }
}
