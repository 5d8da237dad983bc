//! Contacts in plans: one, or a page of them, and what hangs on them.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use async_graphql::{
    ContextSelectionSet, ID, OutputType, Positioned, ServerResult, Value,
    parser::types::Field as DocumentField, registry::Registry,
};
use entity::{ContactId, contact as table};
use sea_orm::{QueryFilter as _, QuerySelect as _, QueryTrait as _};
use uuid::Uuid;

use super::event::EventsPlan;
use crate::{
    base::{
        Actor, Cells, Cursors, Cx, Error, PageArgs, Planning, Read, Scope, Window,
        gql::{self, Need},
        page_select,
        plan::{
            Arguments, Asked, Compiled, Field, Found, Given, Hanging, Json, ListPlan, Run, Source,
        },
    },
    contact::{
        self, ContactFilter, ContactNeeds, ContactOrder, ContactOrderField, ContactPart,
        ContactRow, ContactRows, Loaders,
    },
    nudge::DeliveriesPlan,
    schema::Contact,
};

/// A root field.
#[derive(Debug)]
pub(super) enum Root {
    Typename,
    /// The contact whose token this is.
    Me(ContactPlan),
    One {
        arguments: Arguments,
        contact: ContactPlan,
    },
    Many(ListPlan<ContactPlan>),
}

/// What a document asks of a contact.
#[derive(Debug, Default)]
pub(super) struct ContactPlan {
    fields: Vec<Field<Part>>,
    needs: ContactNeeds,
    /// What the caller must hold to be shown every field.
    guards: Vec<Need>,
}

#[derive(Debug)]
enum Part {
    Typename,
    Own(ContactPart),
    /// The place of this list among the lists of the plan.
    Events(EventsPlan, usize),
    Nudges(DeliveriesPlan, usize),
}

/// What was read for a root field.
pub(super) enum Answer {
    Nothing,
    One(Contacts),
    Many {
        contacts: Contacts,
        window: Window,
        total: Option<i64>,
        /// What a cursor is of, besides the row.
        sort: ContactOrderField,
        descending: bool,
    },
}

/// Contacts of one answer, with all that hangs on them.
pub(super) struct Contacts {
    rows: Vec<ContactRow>,
    own: ContactRows,
    lists: Vec<Hanging>,
}

impl Root {
    pub(super) fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        Some(match asked.name() {
            "__typename" => Self::Typename,
            "me" => Self::Me(ContactPlan::compile(asked)?),
            "contact" => Self::One {
                arguments: asked.arguments(&["id"])?,
                contact: ContactPlan::compile(asked)?,
            },
            "contacts" => {
                let list = ListPlan::compile(asked, "Contact", &["filter", "orderBy"], |node| {
                    ContactPlan::compile(node)
                })?;
                // The rows' lists are written once each.
                if list.nodes().count() > 1 {
                    return None;
                }
                Self::Many(list)
            }
            _ => return None,
        })
    }

    pub(super) async fn read(&self, cx: &Cx, given: &Given<'_>) -> Run<Answer> {
        match self {
            Self::Typename => Some(Answer::Nothing),
            Self::Me(plan) => match cx.actor() {
                Actor::Contact { id, .. } => plan.one(cx, given, *id).await,
                _ => None,
            },
            Self::One { arguments, contact } => {
                allowed(cx, &[gql::CONTACTS_READ])?;
                let id: Option<ID> = given.argument(arguments, "id")?;
                contact.one(cx, given, ContactId::parse(&id?)?).await
            }
            Self::Many(list) => many(list, cx, given).await,
        }
    }

    pub(super) fn write(
        &self,
        json: &mut Json,
        cx: &Cx,
        given: &Given<'_>,
        answer: Answer,
    ) -> Run<()> {
        match (self, answer) {
            (Self::Typename, _) => json.plain("Query"),
            (Self::Me(plan) | Self::One { contact: plan, .. }, Answer::One(mut contacts)) => {
                contacts.write(json, cx, given, plan, 0)
            }
            (Self::Me(_) | Self::One { .. }, Answer::Nothing) => json.null(),
            (
                Self::Many(list),
                Answer::Many {
                    mut contacts,
                    window,
                    total,
                    sort,
                    descending,
                },
            ) => {
                let order = ContactOrder::sorted(sort, descending);
                let cursors = Cursors::of(cx, "contacts", &order);
                let found = Found {
                    window: &window,
                    rows: (0..contacts.rows.len()).collect(),
                    total,
                };
                let instants = contacts
                    .rows
                    .iter()
                    .map(|row| {
                        let at = match sort {
                            ContactOrderField::CreatedAt => row.created_at(),
                            ContactOrderField::UpdatedAt => row.updated_at(),
                        };
                        Some((at?, row.id.uuid()))
                    })
                    .collect::<Run<Vec<_>>>()?;
                list.write(
                    json,
                    given,
                    found,
                    |at| {
                        let (at, id) = *instants.get(*at)?;
                        cursors.at(at, id).ok()
                    },
                    |json, plan, at| contacts.write(json, cx, given, plan, *at),
                )
            }
            _ => None,
        }
    }
}

/// A contact that a mutation answers with: by a plan where there can be one, or else by the engine. What is read for it is read
/// together, where each resolver would go to the database by itself.
pub(in crate::schema) struct Shown(ContactId);

impl Shown {
    pub(in crate::schema) const fn new(id: ContactId) -> Self {
        Self(id)
    }

    async fn planned(&self, ctx: &ContextSelectionSet<'_>, field: &DocumentField) -> Run<Value> {
        let asked = ctx.query_env;
        let plan = ContactPlan::compile(&Source::new(&asked.fragments).field(field))?;
        let given = Given::new(&asked.operation.node.variable_definitions, &asked.variables)?;
        let cx: &Cx = ctx.data_opt()?;
        let Answer::One(mut contacts) = plan.one(cx, &given, self.0).await? else {
            return None;
        };
        let mut json = Json::default();
        contacts.write(&mut json, cx, &given, &plan, 0)?;
        let (text, _) = json.finish()?;
        // Read again: the engine merges this with what the same response key asks for elsewhere.
        serde_json::from_str(&text).ok()
    }
}

impl OutputType for Shown {
    fn type_name() -> Cow<'static, str> {
        Contact::type_name()
    }
    fn create_type_info(registry: &mut Registry) -> String {
        Contact::create_type_info(registry)
    }
    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<DocumentField>,
    ) -> ServerResult<Value> {
        if let Some(value) = Box::pin(self.planned(ctx, &field.node)).await {
            return Ok(value);
        }
        let found = async {
            let loaders: &Arc<Loaders> = ctx.data_opt().ok_or(Error::Forbidden)?;
            loaders.roots.ask(self.0).await
        };
        let row = found
            .await
            .map_err(|error| async_graphql::Error::from(error).into_server_error(field.pos))
            .map_err(|error| ctx.set_error_path(error))?;
        OutputType::resolve(&row.map(Contact::from), ctx, field).await
    }
}

async fn many(list: &ListPlan<ContactPlan>, cx: &Cx, given: &Given<'_>) -> Run<Answer> {
    allowed(cx, &[gql::CONTACTS_READ])?;
    let none = ContactPlan::default();
    let plan = list.nodes().next().unwrap_or(&none);
    allowed(cx, &plan.guards)?;
    let arguments: PageArgs = list.page_arguments(given)?;
    let window = Window::of(&arguments).ok()?;
    let filter: Option<ContactFilter> = given.argument(&list.arguments, "filter")?;
    let order: Option<ContactOrder> = given.argument(&list.arguments, "orderBy")?;
    let sort = ContactOrder::sort(order.as_ref());
    let scope = cx.db();
    let mut rows = contact::listed(&scope);
    let mut planning = Planning::Once;
    if let Some(filter) = filter {
        planning = Planning::ByValues;
        rows = rows.filter(filter.condition(&scope, cx.actor()).ok()?);
    }
    let mut reads = Vec::with_capacity(2);
    if list.counts() {
        let count = rows
            .as_query()
            .clone()
            .clear_selects()
            .expr(sea_orm::sea_query::Func::count(
                sea_orm::sea_query::Expr::cust("*"),
            ))
            .to_owned();
        reads.push(scope.read(&count));
    }
    if list.has_rows() {
        let (rows, _) = page_select(cx, "contacts", rows, &sort, &arguments, &window).ok()?;
        let rows = rows.select_only().columns(plan.needs.columns());
        reads.push(scope.read(rows.as_query()));
    }
    let mut found = read_all(&scope, reads, planning).await?.into_iter();
    let total = if list.counts() {
        Some(found.next()?.first()?.long(0).ok()?)
    } else {
        None
    };
    let rows = found
        .next()
        .unwrap_or_default()
        .into_iter()
        .map(ContactRow::of)
        .collect::<Run<Vec<_>>>()?;
    let shown = rows.len().min(usize::try_from(window.rows() - 1).ok()?);
    let roots: Vec<Uuid> = rows.iter().take(shown).map(|row| row.id.uuid()).collect();
    let reads = plan.reads(cx, given, &scope, &roots)?;
    let found = read_all(&scope, reads, Planning::Once).await?;
    let (field, descending) = ContactOrder::parts(order.as_ref());
    Some(Answer::Many {
        contacts: plan.gather(given, rows, &roots, found)?,
        window,
        total,
        sort: field,
        descending,
    })
}

impl ContactPlan {
    fn compile(asked: &Asked<'_>) -> Compiled<Self> {
        let mut lists = 0;
        let mut guards = vec![];
        let fields = asked.fields(&["Contact", "Node"], |field| {
            let part = match field.name() {
                "__typename" => Part::Typename,
                "events" => {
                    guards.push(gql::EVENTS_OR_OWN);
                    Part::Events(EventsPlan::compile(field)?, lists)
                }
                "nudges" => {
                    guards.push(gql::NUDGES_OR_OWN);
                    Part::Nudges(DeliveriesPlan::compile(field)?, lists)
                }
                _ => Part::Own(ContactPart::compile(field)?),
            };
            if matches!(part, Part::Events(..) | Part::Nudges(..)) {
                lists += 1;
            }
            Some(part)
        })?;
        let own = fields.iter().filter_map(|field| match &field.what {
            Part::Own(own) => Some(own),
            _ => None,
        });
        Some(Self {
            needs: ContactNeeds::of(own),
            fields,
            guards,
        })
    }

    /// The contact that `id` names today. Its lists are read along with it, which is one round trip; for an id that was
    /// absorbed they are read again, for its root.
    async fn one(&self, cx: &Cx, given: &Given<'_>, id: ContactId) -> Run<Answer> {
        allowed(cx, &self.guards)?;
        let scope = cx.db();
        let mut id = id.uuid();
        // An absorbed contact leads to a root, and never to another absorbed one.
        for _ in 0..2 {
            let row = scope
                .find::<table::Entity>()
                .filter(scope.is_one_of::<table::Entity>(table::Column::Id, &[id]))
                .select_only()
                .columns(self.needs.columns());
            let mut reads = vec![scope.read(row.as_query())];
            reads.extend(self.reads(cx, given, &scope, &[id])?);
            let mut found = read_all(&scope, reads, Planning::Once).await?;
            let row = found.remove(0).pop();
            let Some(row) = row else {
                return Some(Answer::Nothing);
            };
            let row = ContactRow::of(row)?;
            match row.merged_into()? {
                Some(root) => id = root,
                None => return Some(Answer::One(self.gather(given, vec![row], &[id], found)?)),
            }
        }
        None
    }

    /// The statements that read what hangs on `roots`.
    fn reads(&self, cx: &Cx, given: &Given<'_>, scope: &Scope, roots: &[Uuid]) -> Run<Vec<Read>> {
        if roots.is_empty() {
            return Some(vec![]);
        }
        let mut reads = self.needs.reads(scope, cx.actor(), roots);
        let members = contact::members(scope, roots);
        for field in &self.fields {
            match &field.what {
                Part::Events(list, _) => reads.extend(list.reads(cx, given, &members)?),
                Part::Nudges(list, _) => reads.extend(list.reads(cx, given, &members)?),
                Part::Typename | Part::Own(_) => {}
            }
        }
        Some(reads)
    }

    /// Sorts what [`Self::reads`] found to its contacts.
    fn gather(
        &self,
        given: &Given<'_>,
        rows: Vec<ContactRow>,
        roots: &[Uuid],
        found: Vec<Vec<Cells>>,
    ) -> Run<Contacts> {
        let place: HashMap<Uuid, usize> = roots
            .iter()
            .enumerate()
            .map(|(at, root)| (*root, at))
            .collect();
        let mut lists = vec![];
        // Nothing was read for nobody.
        if roots.is_empty() {
            let own = ContactRows::gather(ContactNeeds::default(), &place, &mut found.into_iter())?;
            return Some(Contacts { rows, own, lists });
        }
        let mut found = found.into_iter();
        let own = ContactRows::gather(self.needs, &place, &mut found)?;
        for field in &self.fields {
            match &field.what {
                Part::Events(list, _) => lists.push(list.gather(given, &place, &mut found)?),
                Part::Nudges(list, _) => lists.push(list.gather(given, &place, &mut found)?),
                Part::Typename | Part::Own(_) => {}
            }
        }
        Some(Contacts { rows, own, lists })
    }
}

impl Contacts {
    /// Writes the contact at `place`.
    fn write(
        &mut self,
        json: &mut Json,
        cx: &Cx,
        given: &Given<'_>,
        plan: &ContactPlan,
        place: usize,
    ) -> Run<()> {
        let Self { rows, own, lists } = self;
        let row = rows.get(place)?;
        let root = row.id.uuid();
        json.object(&plan.fields, given, |json, part| match part {
            Part::Typename => json.plain("Contact"),
            Part::Own(part) => own.write(json, given, part, row, place),
            Part::Events(list, at) => list.write(json, cx, given, lists.get_mut(*at)?, root, place),
            Part::Nudges(list, at) => list.write(json, cx, given, lists.get_mut(*at)?, root, place),
        })
    }
}

fn allowed(cx: &Cx, needs: &[Need]) -> Run<()> {
    needs
        .iter()
        .all(|need| need.met_by(cx.actor()))
        .then_some(())
}

/// What fails here is said by the engine, which tries again.
async fn read_all(scope: &Scope, reads: Vec<Read>, planning: Planning) -> Run<Vec<Vec<Cells>>> {
    if reads.is_empty() {
        return Some(vec![]);
    }
    match scope.read_all(reads, planning).await {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!(%error, "a read plan failed");
            None
        }
    }
}
