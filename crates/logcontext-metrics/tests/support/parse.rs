//! Reads expositions as the specifications have them, and refuses all else.

use std::collections::BTreeMap;

use logcontext_metrics::Format;

use super::strict;

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    /// As it was written
    pub text: String,
    pub value: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// As the format has it: in Prometheus's, a counter's ends in `_total`.
    pub name: String,
    pub kind: String,
    pub help: Option<String>,
    pub unit: Option<String>,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exposition {
    pub families: Vec<Family>,
}

impl Exposition {
    pub fn parse(text: &str, format: Format) -> Result<Self, String> {
        let body = match format {
            Format::OpenMetrics => text.strip_suffix("# EOF\n").ok_or("no end")?,
            _ => text,
        };
        if !body.is_empty() && !body.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut families: Vec<Family> = Vec::new();
        for line in body.split_terminator('\n') {
            read(line, format, &mut families).map_err(|error| format!("{error}: {line}"))?;
        }
        strict::check(&families, format)?;
        Ok(Self { families })
    }

    /// The sample of this name, as it is written, with exactly these labels.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.sample(name, labels).map(|sample| sample.value)
    }

    pub fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        let wanted: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.samples(name).find(|sample| sample.labels == wanted)
    }

    pub fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples).filter(move |sample| sample.name == name)
    }

    /// All samples of this name that have these labels, added up.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has =
            |sample: &&Sample| labels.iter().all(|(k, v)| sample.labels.get(*k).is_some_and(|is| is == v));
        self.samples(name).filter(has).map(|sample| sample.value).sum()
    }

    /// What queries call what is here: names of samples, and of histograms.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .families
            .iter()
            .flat_map(|family| {
                let samples = family.samples.iter().map(|sample| sample.name.clone());
                samples.chain((family.kind == "histogram").then(|| family.name.clone()))
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

fn read(line: &str, format: Format, families: &mut Vec<Family>) -> Result<(), String> {
    if line.chars().any(char::is_control) {
        return Err("a control character".to_owned());
    }
    if let Some(comment) = line.strip_prefix("# ") {
        return read_comment(comment, format, families);
    }
    let sample = sample(line)?;
    let family = families.last_mut().ok_or("a sample without a family")?;
    family.samples.push(sample);
    Ok(())
}

fn read_comment(comment: &str, format: Format, families: &mut Vec<Family>) -> Result<(), String> {
    let mut words = comment.splitn(3, ' ');
    let (what, name) = (words.next().unwrap_or_default(), words.next().ok_or("no name")?);
    let rest = words.next().ok_or("nothing after the name")?;
    if families.last().is_none_or(|family| family.name != name) {
        if families.iter().any(|family| family.name == name) {
            return Err("a family in two places".to_owned());
        }
        families.push(Family { name: name.to_owned(), ..Family::default() });
    }
    let family = families.last_mut().expect("just looked at");
    if !family.samples.is_empty() {
        return Err("after the samples".to_owned());
    }
    match what {
        "TYPE" if family.kind.is_empty() => family.kind = rest.to_owned(),
        "HELP" if family.help.is_none() => {
            family.help = Some(unescaped(rest, format == Format::OpenMetrics)?);
        }
        "UNIT" if family.unit.is_none() && format == Format::OpenMetrics => {
            family.unit = Some(rest.to_owned());
        }
        _ => return Err("unknown, or said twice".to_owned()),
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(pairs) = rest.strip_prefix('{') {
        rest = read_labels(pairs, &mut labels)?;
    }
    let text = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok(Sample { name: name.to_owned(), labels, text: text.to_owned(), value: number(text)? })
}

fn read_labels<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no value of a label")?;
        let mut escaped = false;
        let end = after.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let (value, after) = after.split_at(end.ok_or("a value of a label without an end")?);
        if labels.insert(name.to_owned(), unescaped(value, true)?).is_some() {
            return Err(format!("label {name} twice"));
        }
        let after = &after[1..];
        if let Some(after) = after.strip_prefix('}') {
            return Ok(after);
        }
        rest = after.strip_prefix(',').ok_or("no comma between two labels")?;
    }
}

fn unescaped(text: &str, quotes: bool) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('"') if quotes => '"',
                other => return Err(format!("an escape that there is none of: {other:?}")),
            },
            '"' if quotes => return Err("a quote".to_owned()),
            c => c,
        });
    }
    Ok(out)
}

pub(super) fn number(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "+Inf" => return Ok(f64::INFINITY),
        "-Inf" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !is_plain || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text} is no number"));
    }
    text.parse().map_err(|error| format!("{text}: {error}"))
}
