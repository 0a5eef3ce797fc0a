//! What the JSON schema of a type says about its keys.

use serde_json::{Map, Value};

use super::node::{self, Hide, Node};

/// So deep are tables in tables followed; types that contain themselves have no end.
const DEPTH: usize = 16;

/// The name of the JSON schema keyword for [`Hide`], in the schemas of this module's types.
pub(super) const HIDE: &str = "x-hide";
/// The name of the JSON schema keyword for what stands for the value in a help text.
pub(super) const VALUE_NAME: &str = "x-value-name";

/// A JSON schema, and the one that its references are to.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    root: &'a Value,
    schema: &'a Value,
}

impl<'a> Shape<'a> {
    pub(super) fn of(root: &'a Value) -> Self {
        Self { root, schema: root }
    }

    fn with(self, schema: &'a Value) -> Self {
        let mut schema = schema;
        for _ in 0..DEPTH {
            let Some(to) = schema.get("$ref").and_then(Value::as_str) else { break };
            let Some(found) = to.strip_prefix('#').and_then(|to| self.root.pointer(to)) else { break };
            schema = found;
        }
        Self { root: self.root, schema }
    }

    /// The forms that it may have, but for none at all.
    fn forms(self) -> impl Iterator<Item = Self> {
        ["anyOf", "oneOf", "allOf"]
            .into_iter()
            .filter_map(move |name| self.schema.get(name).and_then(Value::as_array))
            .flatten()
            .map(move |form| self.with(form))
            .filter(|form| form.schema.get("type").and_then(Value::as_str) != Some("null"))
    }

    /// Its form if that is the only one.
    fn only(self) -> Self {
        let mut forms = self.forms();
        match (forms.next(), forms.next()) {
            (Some(form), None) if self.schema.get("properties").is_none() => form,
            _ => self,
        }
    }

    fn properties_here(self) -> Option<&'a Map<String, Value>> {
        self.schema.get("properties").and_then(Value::as_object)
    }

    /// The keys of it if it is a table and nothing else.
    pub(super) fn properties(self) -> Option<impl Iterator<Item = (&'a str, Self)>> {
        let only = self.only();
        if only.forms().next().is_some() {
            return None;
        }
        let properties = only.properties_here()?;
        Some(properties.iter().map(move |(key, schema)| (key.as_str(), only.with(schema))))
    }

    /// The names of its keys, in a table or in one of its forms.
    pub(super) fn names(self) -> Vec<&'a str> {
        let here =
            self.properties_here().into_iter().flat_map(|properties| properties.keys().map(String::as_str));
        here.chain(self.forms().flat_map(Self::names)).collect()
    }

    /// What has that key of its own, in a table or in one of its forms.
    pub(super) fn property_named(self, key: &str) -> Option<Self> {
        self.properties_here()
            .and_then(|properties| properties.get(key))
            .map(|schema| self.with(schema))
            .or_else(|| self.forms().find_map(|form| form.property_named(key)))
    }

    /// What has that key, or any that it has not, in a table or in one of its forms.
    pub(super) fn property(self, key: &str) -> Option<Self> {
        self.property_named(key).or_else(|| self.any_property())
    }

    fn any_property(self) -> Option<Self> {
        let more = self.schema.get("additionalProperties").filter(|more| more.is_object());
        more.map(|more| self.with(more)).or_else(|| self.forms().find_map(Self::any_property))
    }

    /// What the items of it are, if it is a list or may be one.
    pub(super) fn items(self) -> Option<Self> {
        self.schema.get("items").map(|items| self.with(items)).or_else(|| self.forms().find_map(Self::items))
    }

    /// Whether it takes a table with any keys.
    pub(super) fn is_map(self) -> bool {
        let only = self.only();
        only.types().any(|name| name == "object")
            && only
                .schema
                .get("additionalProperties")
                .is_some_and(|more| !matches!(more, Value::Bool(false) | Value::Null))
    }

    /// Whether it takes a table, among others.
    pub(super) fn takes_table(self) -> bool {
        self.types().any(|name| name == "object") || self.forms().any(Self::takes_table)
    }

    /// Whether it refuses the keys that it does not have.
    pub(super) fn is_closed(self) -> bool {
        self.only().schema.get("additionalProperties") == Some(&Value::Bool(false))
    }

    /// The types that it may have, but for none at all.
    pub(super) fn types(self) -> impl Iterator<Item = &'a str> {
        let types = self.schema.get("type");
        let one = types.and_then(Value::as_str);
        let many = types.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        one.into_iter().chain(many).filter(|name| *name != "null")
    }

    /// Whether its values are of that type and no other.
    pub(super) fn is_only(self, name: &str) -> bool {
        let only = self.only();
        only.types().eq([name])
    }

    pub(super) fn hide(self) -> Hide {
        let here = match self.schema.get(HIDE).and_then(Value::as_str) {
            Some("password") => Hide::Password,
            Some(_) => Hide::Everything,
            None => Hide::Nothing,
        };
        self.forms().map(Self::hide).fold(here, Hide::max)
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.schema
            .get(name)
            .and_then(Value::as_str)
            .or_else(|| self.forms().find_map(|form| form.text(name)))
    }

    /// The words that it takes, if it takes only some.
    pub(super) fn words(self) -> Vec<&'a str> {
        let only = self.only();
        if let Some(words) = only.schema.get("enum").and_then(Value::as_array) {
            return words.iter().filter_map(Value::as_str).collect();
        }
        let words: Vec<_> = only
            .forms()
            .flat_map(|form| {
                let word = form.schema.get("const").and_then(Value::as_str);
                word.into_iter().chain(form.words())
            })
            .collect();
        words
    }

    /// Says of all below the node what is secret.
    pub(super) fn mark(self, node: &mut Node) {
        self.mark_as(node, Hide::Nothing);
    }

    fn mark_as(self, node: &mut Node, above: Hide) {
        match &mut node.value {
            node::Value::List(list) => {
                let above = above.max(self.hide());
                node.hide = above;
                for item in list {
                    self.items().unwrap_or(self).mark_as(item, above);
                }
            }
            node::Value::Table(table) => {
                node.hide = above;
                for (key, child) in table {
                    match self.property(key) {
                        Some(shape) => shape.mark_as(child, above),
                        None => hide_all(child, above),
                    }
                }
            }
            // What should be a table or a list, and is something else, may be the secret that should be in there.
            _ => node.hide = above.max(self.hide_below(0)),
        }
    }

    /// As secret as the most secret thing in it.
    pub(super) fn hide_below(self, depth: usize) -> Hide {
        if depth > DEPTH {
            return Hide::Everything;
        }
        let properties = self.properties_here().into_iter().flat_map(Map::values);
        let more = self.schema.get("additionalProperties").filter(|more| more.is_object());
        let below = properties.chain(more).chain(self.schema.get("items")).map(|schema| self.with(schema));
        self.forms().chain(below).map(|shape| shape.hide_below(depth + 1)).fold(self.hide(), Hide::max)
    }
}

fn hide_all(node: &mut Node, hide: Hide) {
    node.hide = hide;
    match &mut node.value {
        node::Value::List(list) => list.iter_mut().for_each(|child| hide_all(child, hide)),
        node::Value::Table(table) => table.values_mut().for_each(|child| hide_all(child, hide)),
        _ => {}
    }
}

/// A key with a value of its own: not a table that has keys.
pub(super) struct Leaf<'a> {
    pub(super) keys: Vec<&'a str>,
    pub(super) shape: Shape<'a>,
}

/// All keys with values, by name; and the tables on the way to them.
pub(super) fn walk<'a>(shape: Shape<'a>, leaves: &mut Vec<Leaf<'a>>, tables: &mut Vec<Leaf<'a>>) {
    walk_below(shape, &mut Vec::new(), leaves, tables);
}

fn walk_below<'a>(
    shape: Shape<'a>,
    keys: &mut Vec<&'a str>,
    leaves: &mut Vec<Leaf<'a>>,
    tables: &mut Vec<Leaf<'a>>,
) {
    match shape.properties() {
        Some(properties) if keys.len() < DEPTH => {
            tables.push(Leaf { keys: keys.clone(), shape });
            for (key, shape) in properties {
                keys.push(key);
                walk_below(shape, keys, leaves, tables);
                keys.pop();
            }
        }
        _ => leaves.push(Leaf { keys: keys.clone(), shape }),
    }
}
