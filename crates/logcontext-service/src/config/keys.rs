//! The keys of a schema, and what they are called in the environment and on the command line.

use super::node::Hide;
use super::shape::{Leaf, Shape, walk};
use super::text::join;

/// Flags that are no keys.
pub(super) const RESERVED: [&str; 4] = ["config", "set", "help", "version"];

/// A key that can be given as a variable and as a flag; or a short form of one.
pub(super) struct Key<'a> {
    /// In full, as errors say it.
    pub(super) path: String,
    /// The same, piece by piece.
    pub(super) keys: Vec<String>,
    pub(super) shape: Shape<'a>,
    /// Without dashes.
    pub(super) flag: String,
    pub(super) variable: String,
    pub(super) is_alias: bool,
    /// The key with a secret, if the value of this one is the name of a file with that.
    pub(super) file_of: Option<String>,
}

/// All of them: short forms first, then by name, each secret followed by the name of its file.
pub(super) fn of<'a>(
    root: Shape<'a>,
    file: Shape<'a>,
    prefix: &str,
    aliases: &[(String, String)],
) -> Vec<Key<'a>> {
    let mut leaves = Vec::new();
    walk(root, &mut leaves, &mut Vec::new());
    let mut long = Vec::new();
    for Leaf { keys, shape } in leaves {
        let keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        let hide = shape.hide();
        let key = named(keys, shape, None, prefix);
        let of_file = (hide != Hide::Nothing).then(|| {
            let mut keys = key.keys.clone();
            if let Some(last) = keys.last_mut() {
                last.push_str("_file");
            }
            named(keys, file, Some(key.path.clone()), prefix)
        });
        long.push(key);
        long.extend(of_file);
    }
    let mut all = Vec::new();
    for (name, of) in aliases {
        for key in long.iter().filter(|key| key.path == *of || key.file_of.as_deref() == Some(of)) {
            let name = if key.file_of.is_some() { format!("{name}_file") } else { name.clone() };
            all.push(Key {
                path: key.path.clone(),
                keys: key.keys.clone(),
                shape: key.shape,
                flag: flag(&name),
                variable: variable(prefix, &name),
                is_alias: true,
                file_of: key.file_of.clone(),
            });
        }
    }
    all.extend(long);
    all
}

fn named<'a>(keys: Vec<String>, shape: Shape<'a>, file_of: Option<String>, prefix: &str) -> Key<'a> {
    let path = keys.iter().fold(String::new(), |path, key| join(&path, key));
    let (flag, variable) = (flag(&keys.join(".")), variable(prefix, &keys.join(".")));
    Key { path, keys, shape, flag, variable, is_alias: false, file_of }
}

fn flag(key: &str) -> String {
    key.replace(['.', '_'], "-")
}

/// `PRESENCE_LOG_FORMAT` for `log.format`.
pub(super) fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.to_uppercase().replace(['.', '-'], "_"))
}
