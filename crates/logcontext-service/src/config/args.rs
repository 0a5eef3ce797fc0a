//! The command line: one flag for each key.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::Sources;
use super::keys::{Key, RESERVED};
use super::node::Hide;
use super::schema::Schema;
use super::show::in_line;

const SECRET: &str = "Other users of the machine see a command line: a variable or a file is better.";

impl Schema {
    /// The flags, for a [`clap::Command`]: `--config FILE`, `--set KEY=VALUE`, and one for each key, with its help
    /// text, variable and default. The id of each is its name.
    ///
    /// Values are looked at by [`load`](Self::load), not by clap: it tells all mistakes at once.
    pub fn args(&self) -> Vec<Arg> {
        let mut args = vec![
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(format!("The configuration, as TOML [env: {}]", self.config_variable())),
            Arg::new("set")
                .long("set")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .value_parser(ValueParser::os_string())
                .help("Set any key of the configuration, as in --set log.format=json"),
        ];
        let defaults = self.defaults();
        let keys = self.keys();
        let mut taken: Vec<&str> = RESERVED.to_vec();
        for key in &keys {
            if taken.contains(&&*key.flag) {
                continue;
            }
            taken.push(&key.flag);
            let has_alias =
                !key.is_alias && keys.iter().any(|alias| alias.is_alias && alias.path == key.path);
            args.push(arg(key, &defaults).hide_short_help(has_alias));
        }
        args
    }

    /// What the running process was given: the matches of [`args`](Self::args), and its environment.
    ///
    /// Flags that the command does not have count as not given.
    pub fn sources(&self, matches: &ArgMatches) -> Sources {
        let mut flags = Vec::new();
        let mut add = |name: &str| {
            if let Ok(Some(values)) = matches.try_get_many::<OsString>(name) {
                flags.extend(values.map(|value| (name.to_owned(), value.clone())));
            }
        };
        let mut seen: Vec<String> = Vec::new();
        for key in self.keys() {
            if !seen.contains(&key.flag) {
                add(&key.flag);
                seen.push(key.flag);
            }
        }
        add("set");
        let file = matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
        Sources { file, env: std::env::vars_os().collect(), flags }
    }

    /// The defaults of all sections, as far as they can be told.
    fn defaults(&self) -> toml::Table {
        let mut all = toml::Table::new();
        for section in self.sections() {
            let Ok(values) = (section.default)() else { continue };
            if section.key.is_empty() {
                all.extend(values);
            } else {
                all.insert(section.key.clone(), values.into());
            }
        }
        all
    }
}

fn arg(key: &Key<'_>, defaults: &toml::Table) -> Arg {
    let is_boolean = key.shape.is_only("boolean");
    let is_list = key.shape.is_only("array");
    let is_number = key.shape.is_only("integer") || key.shape.is_only("number");
    let arg = Arg::new(key.flag.clone())
        .long(key.flag.clone())
        .value_name(value_name(key))
        .value_parser(ValueParser::os_string())
        .action(if is_list { ArgAction::Append } else { ArgAction::Set })
        .allow_negative_numbers(is_number)
        .help(help(key, defaults, false))
        .long_help(help(key, defaults, true));
    if is_boolean { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}

fn value_name(key: &Key<'_>) -> String {
    let shape = key.shape;
    let of_values = shape.items().unwrap_or(shape);
    let words = of_values.words();
    if let Some(name) = of_values.text(super::shape::VALUE_NAME) {
        name.to_owned()
    } else if !words.is_empty() {
        words.join("|")
    } else if shape.is_only("boolean") {
        "true|false".to_owned()
    } else if shape.is_only("integer") || shape.is_only("number") {
        "N".to_owned()
    } else {
        key.keys.last().map_or("VALUE".to_owned(), |key| key.to_uppercase())
    }
}

fn help(key: &Key<'_>, defaults: &toml::Table, is_long: bool) -> String {
    let mut help = match &key.file_of {
        Some(of) => format!("A file with {of} in it."),
        None => key.shape.text("description").unwrap_or_default().to_owned(),
    };
    if !is_long {
        help = help.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    }
    if key.shape.hide() != Hide::Nothing {
        help.push_str(if is_long { "\n\n" } else { " " });
        help.push_str(SECRET);
    }
    help.push_str(if is_long { "\n\n" } else { " " });
    help.push_str(&format!("[key: {}] [env: {}]", key.path, key.variable));
    if let Some(default) = default(key, defaults) {
        help.push_str(&format!(" [default: {default}]"));
    }
    help
}

fn default(key: &Key<'_>, defaults: &toml::Table) -> Option<String> {
    let (last, tables) = key.keys.split_last()?;
    let table = tables.iter().try_fold(defaults, |table, key| table.get(key)?.as_table())?;
    match (table.get(last)?, key.shape.hide()) {
        (_, Hide::Everything) => None,
        (toml::Value::String(text), Hide::Nothing) if !text.is_empty() => {
            Some(super::text::plain(text).into_owned())
        }
        (value, _) => Some(in_line(value, key.shape).0),
    }
}
