//! What a view says, and whether it is fit. Pure. It is kept as the JSON that its inputs are.

use async_graphql::{Enum, InputObject, OneofObject};
use serde::{Deserialize, Serialize};

use crate::{
    base::{Actor, Error, ErrorCode, Result, State, filter::OrderDirection, gql},
    contact::{ContactFilter, ContactOrderField, IdentifierKind, OrderedBy, Ordering, PERSONAL},
    posthog::{MetricFilter, RankingWanted},
};

use super::graphql::ContactViewOrder;

/// Columns of a view: each may be one more metric or flag of every row.
const COLUMNS_MAX: usize = 30;
const LABEL_CHARS_MAX: usize = 200;
/// As long as a trait's name may be; no other key is longer.
const KEY_CHARS_MAX: usize = 200;

/// What a view shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<ContactFilter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_filter: Option<MetricFilter>,
    /// The newest first, where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_by: Option<ContactViewOrder>,
    pub columns: Vec<Column>,
}

/// What a column shows of each contact: exactly one of these.
#[derive(Clone, Debug, PartialEq, OneofObject, Serialize, Deserialize)]
#[graphql(name = "ContactViewColumnInput")]
#[serde(rename_all = "camelCase")]
pub enum Column {
    /// Something that every contact has.
    Field(FieldColumn),
    /// The identifier of a kind that was seen last.
    Identifier(IdentifierColumn),
    /// A trait.
    Trait(KeyColumn),
    /// A metric, which PostHog computes. Needs the scope `analytics:read`.
    Metric(KeyColumn),
    /// The value of a feature flag: its variant, or whether it is on. Needs the scope `analytics:read`.
    Flag(KeyColumn),
    /// Whether the contact is in a segment. Needs the scope `segments:read`.
    Segment(KeyColumn),
    /// When a module's thing last brought the contact into a state. Needs the scope `segments:read`.
    State(StateColumn),
}

/// What every contact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContactViewField {
    /// The contact's id.
    Id,
    /// What the person is called.
    Name,
    /// How well the contact is known.
    Status,
    /// When the contact was first heard of.
    CreatedAt,
    /// When the contact last changed.
    UpdatedAt,
    /// When the contact was last seen, to the minute.
    LastSeenAt,
}

/// Something that every contact has, as a column.
#[derive(Clone, Debug, PartialEq, Eq, InputObject, Serialize, Deserialize)]
#[graphql(name = "ContactViewFieldColumnInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldColumn {
    /// What it is.
    pub field: ContactViewField,
    /// What stands over the column, at most 200 characters; the field's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// An identifier, as a column.
#[derive(Clone, Debug, PartialEq, Eq, InputObject, Serialize, Deserialize)]
#[graphql(name = "ContactViewIdentifierColumnInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentifierColumn {
    /// Its kind.
    pub kind: IdentifierKind,
    /// What stands over the column, at most 200 characters; the kind where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What has a key, as a column.
#[derive(Clone, Debug, PartialEq, Eq, InputObject, Serialize, Deserialize)]
#[graphql(name = "ContactViewKeyColumnInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyColumn {
    /// Its key.
    pub key: String,
    /// What stands over the column, at most 200 characters; the key where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A module's state, as a column.
#[derive(Clone, Debug, PartialEq, Eq, InputObject, Serialize, Deserialize)]
#[graphql(name = "ContactViewStateColumnInput")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateColumn {
    /// The state: `nudge.offered`, `nudge.displayed`, `nudge.clicked`, `nudge.dismissed` or `nudge.completed`.
    pub state: String,
    /// The key of the module's thing, such as the nudge's.
    pub key: String,
    /// What stands over the column, at most 200 characters; the state and the key where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Column {
    /// Its name as a member of `ContactViewColumnInput`.
    const fn member(&self) -> &'static str {
        match self {
            Self::Field(_) => "field",
            Self::Identifier(_) => "identifier",
            Self::Trait(_) => "trait",
            Self::Metric(_) => "metric",
            Self::Flag(_) => "flag",
            Self::Segment(_) => "segment",
            Self::State(_) => "state",
        }
    }
    /// The key of what it shows, where that has one.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Field(_) | Self::Identifier(_) => None,
            Self::Trait(of) | Self::Metric(of) | Self::Flag(of) | Self::Segment(of) => {
                Some(&of.key)
            }
            Self::State(of) => Some(&of.key),
        }
    }
    fn given_label(&self) -> Option<&str> {
        let label = match self {
            Self::Field(of) => &of.label,
            Self::Identifier(of) => &of.label,
            Self::Trait(of) | Self::Metric(of) | Self::Flag(of) | Self::Segment(of) => &of.label,
            Self::State(of) => &of.label,
        };
        label.as_deref()
    }
    /// What stands over it.
    pub fn label(&self) -> String {
        if let Some(label) = self.given_label() {
            return label.to_owned();
        }
        match self {
            Self::Field(of) => of.field.name().to_owned(),
            Self::Identifier(of) => identifier_name(of.kind).to_owned(),
            Self::State(of) => format!("{} {}", of.state, of.key),
            Self::Trait(of) | Self::Metric(of) | Self::Flag(of) | Self::Segment(of) => {
                of.key.clone()
            }
        }
    }
    /// What it takes to see it, beside the contact.
    pub(super) const fn needs(&self) -> Option<gql::Need> {
        match self {
            Self::Field(_) | Self::Identifier(_) | Self::Trait(_) => None,
            Self::Metric(_) | Self::Flag(_) => Some(gql::ANALYTICS_READ),
            Self::Segment(_) | Self::State(_) => Some(gql::SEGMENTS_READ),
        }
    }
    /// Whether it may show what is personal.
    const fn is_personal(&self) -> bool {
        matches!(
            self,
            Self::Trait(_)
                | Self::Field(FieldColumn {
                    field: ContactViewField::Name,
                    ..
                })
        )
    }
}

impl ContactViewField {
    /// As the field of `Contact` is called.
    const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Status => "status",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
            Self::LastSeenAt => "lastSeenAt",
        }
    }
}

const fn identifier_name(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::ExternalId => "externalId",
        IdentifierKind::Email => "email",
        IdentifierKind::Phone => "phone",
        IdentifierKind::AnonymousId => "anonymousId",
        IdentifierKind::DistinctId => "distinctId",
    }
}

/// Where a view's rows come from.
#[derive(Debug, PartialEq)]
pub(super) enum Origin {
    /// The contacts, in an order of their own.
    Contacts(Ordering),
    /// Those whom PostHog ranks; then in an order of their own, or in that of the metric.
    Ranking(RankingWanted, Option<Ordering>),
}

impl Definition {
    /// Refuses what is not fit, by its place. Whether what it names is there is not asked.
    pub(super) fn check(&self, states: &[&State]) -> Result<()> {
        if let Some(order) = &self.order_by {
            order.by()?;
        }
        if self
            .metric_filter
            .as_ref()
            .is_some_and(MetricFilter::is_empty)
        {
            return Err(Error::invalid(
                "metricFilter",
                "give one of eq, gt, gte, lt and lte",
            ));
        }
        if self.columns.len() > COLUMNS_MAX {
            return Err(Error::user(
                ErrorCode::LimitReached,
                "columns",
                format!("a view has at most {COLUMNS_MAX} columns"),
            ));
        }
        for (at, column) in self.columns.iter().enumerate() {
            column
                .check(states)
                .map_err(|error| error.under(&place(at, column)))?;
        }
        Ok(())
    }
    pub(super) fn origin(&self) -> Result<Origin> {
        let by = self.order_by.as_ref().map(ContactViewOrder::by);
        let by = by.transpose()?.unwrap_or_default();
        let wanted = RankingWanted {
            filter: self.metric_filter.clone(),
            ..RankingWanted::default()
        };
        Ok(match (by, &self.metric_filter) {
            (By::Metric { key, descending }, _) => {
                let wanted = RankingWanted {
                    by: Some(key),
                    descending,
                    ..wanted
                };
                Origin::Ranking(wanted, None)
            }
            (By::Contacts(ordering), None) => Origin::Contacts(ordering),
            (By::Contacts(ordering), Some(_)) => {
                let wanted = RankingWanted {
                    descending: true,
                    ..wanted
                };
                Origin::Ranking(wanted, Some(ordering))
            }
        })
    }
    /// What tells its list from another: all but the columns.
    pub(super) fn list(&self) -> Result<String> {
        let list = Self {
            columns: vec![],
            ..self.clone()
        };
        Ok(serde_json::to_string(&list)?)
    }
    /// Each column that shows something of a key, with its place among the inputs.
    pub(super) fn keyed(&self) -> impl Iterator<Item = (String, &Column, &str)> {
        let columns = self.columns.iter().enumerate();
        columns.filter_map(|(at, column)| {
            let key = column.key()?;
            Some((format!("{}.key", place(at, column)), column, key))
        })
    }
    /// What `actor` holds of what it takes to see the file of an export: whoever fetches it must hold as much.
    pub(super) fn scopes_shown_to(&self, actor: &Actor) -> Vec<&'static str> {
        let ranked = matches!(self.origin(), Ok(Origin::Ranking(..)));
        let needs = self.columns.iter().filter_map(Column::needs);
        let needs = needs.chain(ranked.then_some(gql::ANALYTICS_READ));
        let mut scopes: Vec<&str> = needs
            .filter_map(|need| match need {
                gql::Need::Scope(scope) => Some(scope),
                _ => None,
            })
            .collect();
        // A filter or an order by a personal trait tells of it, too.
        let by_trait = self.filter.is_some()
            || self
                .order_by
                .as_ref()
                .is_some_and(|by| by.r#trait.is_some());
        if by_trait || self.columns.iter().any(Column::is_personal) {
            scopes.push(PERSONAL);
        }
        scopes.sort_unstable();
        scopes.dedup();
        scopes.retain(|scope| actor.holds(scope));
        scopes
    }
}

/// Where a column stands among the inputs.
fn place(at: usize, column: &Column) -> String {
    format!("columns.{at}.{}", column.member())
}

impl Column {
    fn check(&self, states: &[&State]) -> Result<()> {
        let is_long = |text: &str, max: usize| text.chars().count() > max;
        if self
            .given_label()
            .is_some_and(|label| is_long(label, LABEL_CHARS_MAX))
        {
            return Err(Error::invalid(
                "label",
                format!("a label has at most {LABEL_CHARS_MAX} characters"),
            ));
        }
        if self
            .key()
            .is_some_and(|key| key.is_empty() || is_long(key, KEY_CHARS_MAX))
        {
            return Err(Error::invalid(
                "key",
                format!("a key has 1 to {KEY_CHARS_MAX} characters"),
            ));
        }
        if let Self::State(of) = self
            && !states.iter().any(|known| known.name == of.state)
        {
            return Err(Error::user(
                ErrorCode::NotFound,
                "state",
                format!("no module has a state {:?}", of.state),
            ));
        }
        Ok(())
    }
}

/// By what rows are sorted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum By {
    Contacts(Ordering),
    Metric { key: String, descending: bool },
}

impl Default for By {
    fn default() -> Self {
        Self::Contacts(Ordering {
            by: OrderedBy::Field(ContactOrderField::CreatedAt),
            descending: true,
        })
    }
}

impl ContactViewOrder {
    pub(super) fn by(&self) -> Result<By> {
        let descending = self.direction == OrderDirection::Desc;
        let contacts = |by| By::Contacts(Ordering { by, descending });
        match (self.field, &self.r#trait, &self.metric) {
            (Some(field), None, None) => Ok(contacts(OrderedBy::Field(field))),
            (None, Some(key), None) => Ok(contacts(OrderedBy::Trait(key.clone()))),
            (None, None, Some(key)) => Ok(By::Metric {
                key: key.clone(),
                descending,
            }),
            _ => Err(Error::invalid(
                "orderBy",
                "give exactly one of field, trait and metric",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(value: serde_json::Value) -> Definition {
        serde_json::from_value(value).unwrap()
    }
    fn wrong(value: serde_json::Value) -> String {
        match definition(value).check(&[]) {
            Err(Error::User(error)) => error.field.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_definition_is_kept_as_it_was_given() {
        let given = json!({
            "filter": {"and": [{"email": {"contains": "x"}}, {"trait": {"key": "plan", "eq": null}}, {"createdAt": {"after": "2026-01-01T00:00:00Z"}},
                {"events": {"some": {"name": "a", "before": "2026-01-02T00:00:00Z"}}}, {"status": {"in": ["KNOWN"]}}]},
            "metricFilter": {"key": "revenue", "gte": 1.5},
            "orderBy": {"metric": "revenue", "direction": "DESC"},
            "columns": [{"field": {"field": "NAME"}}, {"identifier": {"kind": "EMAIL", "label": "Mail"}}, {"trait": {"key": "plan"}},
                {"state": {"state": "nudge.clicked", "key": "hi"}}],
        });
        let read = definition(given.clone());
        assert_eq!(serde_json::to_value(&read).unwrap(), given);
        let labels: Vec<String> = read.columns.iter().map(Column::label).collect();
        assert_eq!(labels, ["name", "Mail", "plan", "nudge.clicked hi"]);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let long = "x".repeat(201);
        let plan = json!({"trait": {"key": "plan"}});
        for (given, field) in [
            (
                json!({"orderBy": {"direction": "ASC"}, "columns": []}),
                "orderBy",
            ),
            (
                json!({"orderBy": {"trait": "a", "metric": "b", "direction": "ASC"}}),
                "orderBy",
            ),
            (json!({"metricFilter": {"key": "a"}}), "metricFilter"),
            (json!({"columns": vec![plan.clone(); 31]}), "columns"),
            (
                json!({"columns": [plan, {"metric": {"key": ""}}]}),
                "columns.1.metric.key",
            ),
            (
                json!({"columns": [{"flag": {"key": "a", "label": long}}]}),
                "columns.0.flag.label",
            ),
            (
                json!({"columns": [{"state": {"state": "nudge.eaten", "key": "a"}}]}),
                "columns.0.state.state",
            ),
        ] {
            assert_eq!(wrong(given), field);
        }
    }

    #[test]
    fn a_metric_of_any_kind_makes_posthog_rank() {
        let origin = |value| definition(value).origin().unwrap();
        let newest = Ordering {
            by: OrderedBy::Field(ContactOrderField::CreatedAt),
            descending: true,
        };
        assert_eq!(origin(json!({})), Origin::Contacts(newest.clone()));
        let ranked = RankingWanted {
            by: Some("a".into()),
            descending: false,
            filter: None,
        };
        assert_eq!(
            origin(json!({"orderBy": {"metric": "a", "direction": "ASC"}})),
            Origin::Ranking(ranked, None)
        );
        let filter = MetricFilter {
            key: "a".into(),
            gt: Some(2.0),
            ..MetricFilter::default()
        };
        let filtered = RankingWanted {
            by: None,
            descending: true,
            filter: Some(filter),
        };
        assert_eq!(
            origin(json!({"metricFilter": {"key": "a", "gt": 2.0}})),
            Origin::Ranking(filtered, Some(newest))
        );
    }
}
