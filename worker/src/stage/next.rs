//! The link to the next page of a list (`--next`).

use std::io::Cursor;

use extract::{Extractor, Page, Rejected};
use shared::job::NextSpec;
use shared::pages::{LINK_BYTES_MAX, NextPage};
use shared::record::FieldValue;
use shared::select::{Each, Field};
use url::Url;

/// Finds the link to the next page.
pub(super) enum NextFinder {
    /// It is found together with the fields, behind those of `--select`: at this position.
    WithFields(usize),
    /// The fields are those of items, and the link is not in one: it takes a pass of its own.
    Alone(Box<Extractor>),
}

impl NextFinder {
    /// Returns it, and the fields to extract from each page.
    pub(super) fn new(
        spec: &NextSpec,
        fields: &[Field],
        each: Option<&Each>,
    ) -> Result<(Self, Vec<Field>), Rejected> {
        let mut fields = fields.to_vec();
        if each.is_some() {
            let alone = Extractor::new(std::slice::from_ref(&spec.link), None, &[])?;
            return Ok((Self::Alone(Box::new(alone)), fields));
        }
        let position = fields.len();
        fields.push(spec.link.clone());
        Ok((Self::WithFields(position), fields))
    }

    /// Takes the link out of the values of a page, or looks for it. What cannot be read on its own has no next page.
    pub(super) fn find(&self, page: Page<'_>, body: &[u8], values: &mut Vec<FieldValue>) -> NextPage {
        let value = match self {
            Self::WithFields(position) if *position < values.len() => values.remove(*position),
            Self::WithFields(_) => FieldValue::Null,
            Self::Alone(extractor) => match extractor.extract(page, &mut Cursor::new(body)) {
                Ok(found) => found.values.into_iter().next().unwrap_or(FieldValue::Null),
                Err(_) => FieldValue::Null,
            },
        };
        link(&value, page.url)
    }
}

/// Reads a value as a link. JSON says in several ways that there is none.
fn link(value: &FieldValue, base: Option<&Url>) -> NextPage {
    let text = match value {
        FieldValue::Null => return NextPage::None,
        FieldValue::Text(text) => text.trim(),
        FieldValue::Json(json) if matches!(json.as_str(), "false" | "{}" | "[]") => return NextPage::None,
        FieldValue::Int(_)
        | FieldValue::Float(_)
        | FieldValue::List(_)
        | FieldValue::Object(_)
        | FieldValue::Json(_) => return NextPage::NoLink,
    };
    if text.is_empty() {
        return NextPage::None;
    }
    // Before it is joined as well: a parser would copy all of it.
    if text.len() > LINK_BYTES_MAX {
        return NextPage::NoLink;
    }
    match Url::options().base_url(base).parse(text) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
            url.set_fragment(None);
            if url.as_str().len() > LINK_BYTES_MAX { NextPage::NoLink } else { NextPage::At(url.into()) }
        }
        Ok(_) | Err(_) => NextPage::NoLink,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use extract::Kind;

    use super::*;

    fn text(text: impl Into<String>) -> FieldValue {
        FieldValue::Text(text.into())
    }

    #[test]
    fn only_links_to_pages_are_followed() {
        let base = Url::parse("http://h/list/1?x#y").unwrap();
        for (value, want) in [
            (FieldValue::Null, NextPage::None),
            (text(" "), NextPage::None),
            (text(" 2?a=b#c "), NextPage::At("http://h/list/2?a=b".to_owned())),
            (text("//other/"), NextPage::At("http://other/".to_owned())),
            (text("https://u:p@h/"), NextPage::At("https://u:p@h/".to_owned())),
            (text("javascript:next()"), NextPage::NoLink),
            (text("mailto:a@b"), NextPage::NoLink),
            (text("http://"), NextPage::NoLink),
            (text("x".repeat(LINK_BYTES_MAX + 1)), NextPage::NoLink),
            // Longer than that once it is encoded.
            (text("\u{e4}".repeat(LINK_BYTES_MAX / 2)), NextPage::NoLink),
            (FieldValue::Int(2), NextPage::NoLink),
            (FieldValue::List(vec![text("2")]), NextPage::NoLink),
        ] {
            assert_eq!(link(&value, Some(&base)), want, "{value:?}");
        }
    }

    #[test]
    fn the_link_is_no_field_of_the_record() {
        let spec = |link: &str| NextSpec { link: Field::parse_next(link).unwrap(), pages_max: 9 };
        let fields = Field::parse_all(&["t=h1", "l[]=li"]).unwrap();
        let each = Each::parse("li").unwrap();
        let html = b"<h1>a</h1><li>b<li>c<a rel=next href=2>on</a>".as_slice();
        let url = Url::parse("http://h/1").unwrap();
        let page = Page {
            kind: Kind::Html,
            content_type_charset: None,
            url: Some(&url),
            parse_timeout: Duration::from_secs(9),
        };
        for each in [None, Some(&each)] {
            let (finder, all) = NextFinder::new(&spec("a[rel=next]"), &fields, each).unwrap();
            let extractor = Extractor::new(&all, each, &[]).unwrap();
            let mut values = extractor.extract(page, &mut Cursor::new(html)).unwrap().values;
            assert_eq!(finder.find(page, html, &mut values), NextPage::At("http://h/2".to_owned()));
            assert_eq!(values.len(), if each.is_some() { 1 } else { 2 });
        }
    }
}
