//! Builds the values of the presets from the texts that the engines found.

use std::borrow::Cow;

use wire::json::{self, Json};
use wire::record::FieldValue;

use crate::ExtractError;
use crate::found::Deadline;

/// The vocabularies of Open Graph (ogp.me), and Facebook's own.
const VOCABULARIES: [&str; 8] =
    ["og:", "article:", "book:", "profile:", "music:", "video:", "product:", "fb:"];

/// The objects of `application/ld+json` scripts. A script that is not JSON is
/// ignored: one broken script should not cost the record of its page.
pub(crate) fn json_ld<'t>(
    scripts: impl Iterator<Item = Cow<'t, str>>,
    deadline: &Deadline,
) -> Result<FieldValue, ExtractError> {
    let mut objects = Vec::new();
    for script in scripts {
        deadline.check()?;
        let found = objects.len();
        json::script(&script).iter().for_each(|value| add_json_ld(value, &mut objects));
        if objects.len() == found && script.contains("&quot;") {
            // This script was escaped twice: the text of a script has no entities.
            let script = htmlize::unescape(&*script);
            json::script(&script).iter().for_each(|value| add_json_ld(value, &mut objects));
        }
    }
    Ok(FieldValue::List(objects))
}

/// Adds an object, or all objects of a list.
pub(crate) fn add_json_ld(value: &Json<'_>, objects: &mut Vec<FieldValue>) {
    match value {
        Json::Object(_) => objects.push(value.into()),
        Json::Array(values) => {
            let of_list = values.iter().filter(|value| matches!(value, Json::Object(_)));
            objects.extend(of_list.map(FieldValue::from));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The `<meta property>` elements of Open Graph's vocabularies; many pages use `name` instead.
pub(crate) fn open_graph<'t>(pairs: impl Iterator<Item = Cow<'t, str>>) -> FieldValue {
    object(pairs, |key| VOCABULARIES.iter().any(|vocabulary| key.starts_with(vocabulary)))
}

/// The `<meta name>` elements.
pub(crate) fn meta<'t>(pairs: impl Iterator<Item = Cow<'t, str>>) -> FieldValue {
    object(pairs, |key| !key.is_empty())
}

/// An object of keys and contents. A key that occurs several times has a list.
fn object<'t>(pairs: impl Iterator<Item = Cow<'t, str>>, wanted: impl Fn(&str) -> bool) -> FieldValue {
    let mut members = Members::default();
    for pair in pairs {
        let Some((key, content)) = pair.split_once('\0') else { continue };
        let key = key.trim().to_lowercase();
        if wanted(&key) {
            members.add(key, FieldValue::Text(content.to_owned()));
        }
    }
    members.into_object(Repeated::AsList)
}

/// The values of each name, in the order in which the names first occur.
#[derive(Default)]
pub(crate) struct Members {
    places: std::collections::HashMap<String, usize>,
    members: Vec<(String, Vec<FieldValue>)>,
}

/// The value of a name that has one value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// A single value, or a list of several.
    AsList,
    /// A list, even of one value.
    Always,
}

impl Members {
    pub(crate) fn add(&mut self, name: String, value: FieldValue) {
        match self.places.get(&name).and_then(|place| self.members.get_mut(*place)) {
            Some((_, values)) => values.push(value),
            None => {
                self.places.insert(name.clone(), self.members.len());
                self.members.push((name, vec![value]));
            }
        }
    }

    pub(crate) fn into_object(self, repeated: Repeated) -> FieldValue {
        let members = self.members.into_iter().map(|(name, mut values)| {
            let single = if values.len() == 1 && repeated == Repeated::AsList { values.pop() } else { None };
            (name, single.unwrap_or(FieldValue::List(values)))
        });
        FieldValue::Object(members.collect())
    }
}
