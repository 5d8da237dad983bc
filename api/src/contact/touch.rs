//! Where a visit came from: the attribution that one event carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::base::{cut, storable};

/// Characters of a campaign's field or a click id.
const FIELD_CHARS_MAX: usize = 500;
/// Characters of a URL: what browsers and proxies let through.
const URL_CHARS_MAX: usize = 2_048;

/// The click ids of the ad networks that posthog-js collects.
const CLICK_IDS: [&str; 17] = [
    "gclid",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "msclkid",
    "twclid",
    "li_fat_id",
    "igshid",
    "ttclid",
    "rdt_cid",
    "epik",
    "qclid",
    "sccid",
    "irclid",
    "mc_cid",
    "_kx",
];

/// One touch: the campaign, referrer and referral behind an event. Empty fields are left out when serialized.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Touch {
    /// `utm_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `utm_medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// `utm_campaign`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// `utm_term`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// `utm_content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// URL of the page the visitor came from; never a page of the same host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrer: Option<String>,
    /// Host of `referrer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referring_domain: Option<String>,
    /// Click ids by their parameter's name (`gclid`, `fbclid`, …).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub click_ids: BTreeMap<String, String>,
    /// `referral_code`, or `ref` of the landing URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referral_code: Option<String>,
    /// `qr` of the landing URL: which printed code was scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qr: Option<String>,
    /// `$current_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landing_url: Option<String>,
}

/// What brought a visitor, the most telling of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchKind {
    /// A printed code.
    Qr,
    /// Somebody's referral.
    Referral,
    /// A campaign or an ad.
    Campaign,
    /// A link on another site.
    Referrer,
}

/// The medium by which campaigns say that they are printed codes.
pub(super) const QR_MEDIUM: &str = "qr";

impl Touch {
    pub fn kind(&self) -> TouchKind {
        let campaign = [
            &self.source,
            &self.medium,
            &self.campaign,
            &self.term,
            &self.content,
        ];
        if self.qr.is_some() || self.medium.as_deref() == Some(QR_MEDIUM) {
            TouchKind::Qr
        } else if self.referral_code.is_some() {
            TouchKind::Referral
        } else if campaign.iter().any(|field| field.is_some()) || !self.click_ids.is_empty() {
            TouchKind::Campaign
        } else {
            TouchKind::Referrer
        }
    }
}

/// The touch that an event's properties carry; None for a direct or internal visit. What the properties do not spell out is read
/// from the query of `$current_url`, since only posthog-js does so itself.
pub fn touch(properties: &Map<String, Value>) -> Option<Touch> {
    let landing = Landing::of(properties);
    let (referrer, referring_domain) = referrer(properties, &landing);
    let touch = Touch {
        source: landing.field("utm_source"),
        medium: landing.field("utm_medium"),
        campaign: landing.field("utm_campaign"),
        term: landing.field("utm_term"),
        content: landing.field("utm_content"),
        referrer,
        referring_domain,
        click_ids: CLICK_IDS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), landing.field(key)?)))
            .collect(),
        // A property called `ref` can be any reference (an order's, say); in a URL it is a referral.
        referral_code: landing
            .field("referral_code")
            .or_else(|| landing.parameter("ref")),
        qr: landing.parameter("qr"),
        landing_url: None,
    };
    (touch != Touch::default()).then(|| Touch {
        landing_url: stated(properties, "$current_url", URL_CHARS_MAX),
        ..touch
    })
}

struct Landing<'a> {
    properties: &'a Map<String, Value>,
    url: Option<Url>,
}

impl<'a> Landing<'a> {
    fn of(properties: &'a Map<String, Value>) -> Self {
        let url = properties.get("$current_url").and_then(Value::as_str);
        Self {
            properties,
            url: url.and_then(|url| Url::parse(url).ok()),
        }
    }

    /// A property, or the parameter of the same name of the landing URL.
    fn field(&self, key: &str) -> Option<String> {
        stated(self.properties, key, FIELD_CHARS_MAX).or_else(|| self.parameter(key))
    }

    fn parameter(&self, key: &str) -> Option<String> {
        let (_, value) = self
            .url
            .as_ref()?
            .query_pairs()
            .find(|(name, _)| name == key)?;
        present(&value, FIELD_CHARS_MAX)
    }

    fn is_own(&self, host: &str) -> bool {
        let own = stated(self.properties, "$host", URL_CHARS_MAX);
        own.is_some_and(|own| own.eq_ignore_ascii_case(host))
            || self
                .url
                .as_ref()
                .and_then(authority)
                .is_some_and(|own| own.eq_ignore_ascii_case(host))
    }
}

/// Host and port, the port only where it is unusual: what browsers call `host`, and posthog-js the referring domain.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// Referrer and its domain, unless it is `$direct` or the site itself.
fn referrer(
    properties: &Map<String, Value>,
    landing: &Landing,
) -> (Option<String>, Option<String>) {
    let known = |key| stated(properties, key, URL_CHARS_MAX).filter(|text| text != "$direct");
    let referrer = known("$referrer");
    let parsed = || authority(&Url::parse(referrer.as_deref()?).ok()?);
    let domain = known("$referring_domain").or_else(parsed);
    match domain {
        Some(own) if landing.is_own(&own) => (None, None),
        domain => (referrer, domain),
    }
}

fn stated(properties: &Map<String, Value>, key: &str, chars_max: usize) -> Option<String> {
    present(properties.get(key)?.as_str()?, chars_max)
}

/// A non-empty text. A percent-encoded U+0000 passes URL parsing, and PostgreSQL stores none.
fn present(text: &str, chars_max: usize) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| cut(storable(text.to_owned()), chars_max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(properties: Value) -> Value {
        match properties {
            Value::Object(map) => json!(touch(&map)),
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn campaign_referrer_and_click_ids_are_read_from_the_properties() {
        let properties = json!({
            "utm_source": "news", "utm_medium": "email", "utm_campaign": "launch", "utm_term": "crm", "utm_content": "top",
            "$referrer": "https://www.google.com/", "$referring_domain": "www.google.com", "gclid": "g1", "fbclid": null,
            "$current_url": "https://acme.test/?x=1", "$host": "acme.test", "referral_code": "ANN5",
        });
        let expected = json!({
            "source": "news", "medium": "email", "campaign": "launch", "term": "crm", "content": "top",
            "referrer": "https://www.google.com/", "referringDomain": "www.google.com", "clickIds": {"gclid": "g1"},
            "referralCode": "ANN5", "landingUrl": "https://acme.test/?x=1",
        });
        assert_eq!(of(properties), expected);
    }

    #[test]
    fn what_the_properties_leave_out_is_read_from_the_landing_url() {
        let url = "https://acme.test/p?utm_source=ad%20x&utm_medium=&msclkid=m1&ref=BOB7&utm_term=%00#utm_content=no";
        let expected = json!({
            "source": "ad x", "term": "\u{fffd}", "clickIds": {"msclkid": "m1"}, "referralCode": "BOB7", "landingUrl": url,
        });
        assert_eq!(of(json!({"$current_url": url, "ref": "order 5"})), expected);
    }

    #[test]
    fn a_direct_or_internal_visit_is_no_touch() {
        for properties in [
            json!({}),
            json!({"$current_url": "https://acme.test/pricing", "$referrer": "$direct", "$referring_domain": "$direct"}),
            json!({"$current_url": "https://acme.test:8443/b", "$referrer": "https://acme.test:8443/a"}),
            json!({"$host": "Acme.test", "$referrer": "https://acme.test/a", "$referring_domain": "acme.test"}),
            json!({"utm_source": "", "utm_medium": " ", "gclid": null, "utm_term": 7, "ref": "order 5"}),
        ] {
            assert_eq!(of(properties.clone()), Value::Null, "{properties}");
        }
    }

    #[test]
    fn a_referrer_without_its_domain_gets_one() {
        let expected =
            json!({"referrer": "https://blog.test/post", "referringDomain": "blog.test"});
        assert_eq!(of(json!({"$referrer": "https://blog.test/post"})), expected);
    }

    #[test]
    fn a_touch_is_of_the_most_telling_kind() {
        let kind = |properties: Value| {
            let Value::Object(properties) = properties else {
                panic!("not an object")
            };
            touch(&properties).map(|touch| touch.kind())
        };
        let landing = |query: &str| json!({"$current_url": format!("https://acme.test/?{query}")});
        for (properties, expected) in [
            (landing("qr=table-7&ref=BOB7"), Some(TouchKind::Qr)),
            (
                landing("utm_medium=qr&utm_source=fair"),
                Some(TouchKind::Qr),
            ),
            (landing("utm_source=x&ref=BOB7"), Some(TouchKind::Referral)),
            (landing("utm_term=crm"), Some(TouchKind::Campaign)),
            (landing("gclid=g1"), Some(TouchKind::Campaign)),
            (
                json!({"$referrer": "https://blog.test/"}),
                Some(TouchKind::Referrer),
            ),
            (json!({"qr": "order 5"}), None),
        ] {
            assert_eq!(kind(properties.clone()), expected, "{properties}");
        }
    }

    #[test]
    fn a_touch_survives_storage() {
        let stored = of(json!({"utm_source": "x".repeat(600)}));
        assert_eq!(stored, json!({"source": "x".repeat(500)}));
        let read: Touch = serde_json::from_value(stored).unwrap();
        assert_eq!(read.source, Some("x".repeat(500)));
    }
}
