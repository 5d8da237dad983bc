//! What a nudge says, within bounds that every surface can show.

use serde::{Deserialize, Serialize};
use url::Url;

const TITLE_CHARS_MAX: usize = 120;
const BODY_CHARS_MAX: usize = 2_000;
const LABEL_CHARS_MAX: usize = 60;
const URL_CHARS_MAX: usize = 2_048;
const SURFACE_CHARS_MAX: usize = 64;
const KEY_CHARS_MAX: usize = 64;

/// Plain text, never markup: what it looks like is the surface's choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub title: String,
    pub body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// What the contact can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub label: String,
    pub url: String,
}

/// Which field of a content breaks a rule, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    /// A path such as `action.url`.
    pub field: &'static str,
    pub message: String,
}

impl Content {
    /// The content without white space around its texts, or what is wrong with it.
    pub fn checked(self) -> Result<Self, Unfit> {
        let action = self.action.map(Action::checked).transpose()?;
        Ok(Self {
            title: line("title", &self.title, TITLE_CHARS_MAX)?,
            body: text("body", &self.body, BODY_CHARS_MAX)?,
            action,
        })
    }
}

impl Action {
    fn checked(self) -> Result<Self, Unfit> {
        let url = self.url.trim();
        if url.chars().count() > URL_CHARS_MAX {
            return Err(unfit(
                "action.url",
                format!("a url has at most {URL_CHARS_MAX} characters"),
            ));
        }
        if !is_path(url) && !is_web_url(url) {
            return Err(unfit(
                "action.url",
                "a url is http, https or a path of the surface's own site that begins with one /"
                    .into(),
            ));
        }
        Ok(Self {
            label: line("action.label", &self.label, LABEL_CHARS_MAX)?,
            url: url.to_owned(),
        })
    }
}

/// A path such as `/plans?from=nudge`. Browsers read `//` and `/\` as another site's address.
fn is_path(url: &str) -> bool {
    url.starts_with('/')
        && !url.starts_with("//")
        && !url
            .chars()
            .any(|c| c == '\\' || c.is_control() || c.is_whitespace())
}

fn is_web_url(url: &str) -> bool {
    !url.chars().any(char::is_control)
        && Url::parse(url)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn line(field: &'static str, given: &str, chars_max: usize) -> Result<String, Unfit> {
    let given = text(field, given, chars_max)?;
    if given.contains('\n') {
        return Err(unfit(field, format!("{field} is one line")));
    }
    Ok(given)
}

fn text(field: &'static str, given: &str, chars_max: usize) -> Result<String, Unfit> {
    let given = given.trim();
    let chars = given.chars().count();
    if chars == 0 || chars > chars_max {
        return Err(unfit(
            field,
            format!("{field} has 1 to {chars_max} characters, not {chars}"),
        ));
    }
    if given.chars().any(|c| c.is_control() && c != '\n') {
        return Err(unfit(field, format!("{field} holds a control character")));
    }
    if looks_like_markup(given) {
        return Err(unfit(
            field,
            format!("{field} is plain text, and < before a letter begins markup"),
        ));
    }
    Ok(given.to_owned())
}

/// Whether an HTML parser would see a tag, a comment or a declaration: `1 < 2` is text, `<b>` is not.
fn looks_like_markup(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        text[at + 1..]
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'))
    })
}

/// A surface is a place in the tenant's product, such as `app` or `billing.banner`.
pub(in crate::nudge) fn surface_is_fit(surface: &str) -> Result<(), String> {
    name_is_fit("a surface", surface, SURFACE_CHARS_MAX)
}

/// A key names a nudge in code, for ever.
pub(in crate::nudge) fn key_is_fit(key: &str) -> Result<(), String> {
    name_is_fit("a key", key, KEY_CHARS_MAX)
}

fn name_is_fit(what: &str, name: &str, chars_max: usize) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > chars_max || !name.chars().all(allowed) {
        return Err(format!(
            "{what} has 1 to {chars_max} letters, digits and characters of _-."
        ));
    }
    Ok(())
}

fn unfit(field: &'static str, message: String) -> Unfit {
    Unfit { field, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(title: &str, body: &str, action: Option<(&str, &str)>) -> Content {
        Content {
            title: title.into(),
            body: body.into(),
            action: action.map(|(label, url)| Action {
                label: label.into(),
                url: url.into(),
            }),
        }
    }

    #[test]
    fn a_content_within_bounds_is_kept_trimmed() {
        let kept = content(
            " Hello ",
            "One.\nTwo: 1 < 2 <3",
            Some(("Go", " /plans?from=nudge#top ")),
        )
        .checked();
        assert_eq!(
            kept,
            Ok(content(
                "Hello",
                "One.\nTwo: 1 < 2 <3",
                Some(("Go", "/plans?from=nudge#top"))
            ))
        );
        assert!(
            content(&"ä".repeat(120), &"b".repeat(2_000), None)
                .checked()
                .is_ok()
        );
    }

    #[test]
    fn a_text_out_of_bounds_or_with_markup_names_its_field() {
        for (content, field) in [
            (content("", "b", None), "title"),
            (content(&"t".repeat(121), "b", None), "title"),
            (content("a\nb", "b", None), "title"),
            (content("t", " ", None), "body"),
            (content("t", &"b".repeat(2_001), None), "body"),
            (content("t", "<b>bold</b>", None), "body"),
            (content("t", "</p>", None), "body"),
            (content("t", "<!-- x -->", None), "body"),
            (content("t", "a\u{0}b", None), "body"),
            (content("t", "b", Some(("", "/a"))), "action.label"),
            (content("t", "b", Some(("<i>Go", "/a"))), "action.label"),
        ] {
            assert_eq!(content.checked().unwrap_err().field, field);
        }
    }

    #[test]
    fn an_action_leads_to_the_web_or_to_a_path_of_the_site_and_nowhere_else() {
        for url in [
            "https://example.com/a?b=c#d",
            "http://localhost:3000",
            "/",
            "/a/b?c=d",
        ] {
            assert!(
                content("t", "b", Some(("Go", url))).checked().is_ok(),
                "{url}"
            );
        }
        for url in [
            "",
            "a/b",
            "//evil.example",
            "/\\evil.example",
            "/a\tb",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            "ftp://example.com",
            "https://",
            "java\nscript:alert(1)",
        ] {
            let refused = content("t", "b", Some(("Go", url))).checked();
            assert_eq!(refused.map_err(|e| e.field), Err("action.url"), "{url}");
        }
        let long = format!("/{}", "a".repeat(2_048));
        assert!(content("t", "b", Some(("Go", &long))).checked().is_err());
    }

    #[test]
    fn surfaces_and_keys_are_short_names() {
        for fit in ["app", "billing.banner", "a-b_c.9", "Modal"] {
            assert_eq!(surface_is_fit(fit), Ok(()));
            assert_eq!(key_is_fit(fit), Ok(()));
        }
        for unfit in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(surface_is_fit(unfit).is_err());
            assert!(key_is_fit(unfit).is_err());
        }
    }
}
