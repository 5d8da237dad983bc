//! The documents that this process knows: read once, run many times.
//!
//! A document is known by its text's SHA-256, whoever sent it and on whichever path: [`Documents`] holds it scanned and parsed,
//! and that the engine found it valid, which it is not asked again. Under which hashes a *tenant* may ask for a document without its text is another
//! matter: a hash is looked up for its tenant alone, so that nobody learns what others run.

use std::{
    any::TypeId,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    Name, Pos, Request, Response, ServerError, Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute},
    parser::types::{DocumentOperations, ExecutableDocument},
};
use document::Unparsed;
use entity::TenantId;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::{Schema, limits, once, plan::Plan, shape, sight::Beyond, subscription};
use crate::base::{Actor, Result};

/// SHA-256 of a document's text.
pub type Hash = [u8; 32];

/// What a document takes besides its text, in bytes, and how many bytes its tree has for each of its text's: measured generously.
const DOCUMENT_BYTES: usize = 2 * 1024;
const TREE_FACTOR: usize = 16;

/// Bytes that the known documents may take, and those that tenants have registered.
const KNOWN_BYTES_MAX: u64 = 32 * 1024 * 1024;
const REGISTERED_BYTES_MAX: u64 = 32 * 1024 * 1024;
const TRUSTED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// After which time a document that the tenant trusts no more is forgotten by every process.
const TRUSTED_KEPT: Duration = Duration::from_secs(10);

/// How long a registered document is kept that nobody asks for.
const REGISTERED_IDLE: Duration = Duration::from_hours(24);

/// A document that was scanned and parsed.
pub struct Known {
    hash: Hash,
    text: Box<str>,
    document: ExecutableDocument,
    introspects: bool,
    repeats: bool,
    accepted: AtomicBool,
    /// As the engine is given it for a subscription.
    settled: OnceLock<ExecutableDocument>,
    beyond: Beyond,
    /// Its operations, with a plan where one can answer. Made when the engine has accepted the document.
    plans: OnceLock<Vec<(Option<Name>, Option<Plan>)>>,
}

impl Known {
    fn new(hash: Hash, text: &str) -> Result<Self, Unparsed> {
        let document = document::parse(text)?;
        Ok(Self {
            hash,
            introspects: document::introspects(&document),
            repeats: document::directs(&document, "idempotent"),
            document,
            text: text.into(),
            accepted: AtomicBool::new(false),
            settled: OnceLock::new(),
            beyond: Beyond::default(),
            plans: OnceLock::new(),
        })
    }

    pub const fn hash(&self) -> Hash {
        self.hash
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub const fn document(&self) -> &ExecutableDocument {
        &self.document
    }

    /// Whether it asks for the schema itself, wherever in it.
    pub const fn introspects(&self) -> bool {
        self.introspects
    }

    /// Whether an answer to it may be one that was given before, under an idempotency key.
    pub const fn repeats(&self) -> bool {
        self.repeats
    }

    /// Whether the engine has found it valid. That it has not says nothing.
    pub fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Where it names something that a browser's `actor` cannot see.
    pub(super) fn beyond_sight(&self, actor: &Actor) -> Option<Pos> {
        self.beyond.of(&self.document, actor)
    }

    /// The plan of the operation that is meant, if there is one. A document that the engine has not yet seen has none.
    pub(super) fn plan(&self, operation_name: Option<&str>) -> Option<&Plan> {
        if !self.is_accepted() {
            return None;
        }
        let plans = self.plans.get_or_init(|| {
            let operations = self.document.operations.iter();
            operations
                .map(|(name, operation)| (name.cloned(), Plan::compile(&self.document, operation)))
                .collect()
        });
        let meant = match operation_name {
            Some(wanted) => plans
                .iter()
                .find(|(name, _)| name.as_ref().is_some_and(|name| name == wanted)),
            None => plans.first().filter(|_| plans.len() == 1),
        };
        meant?.1.as_ref()
    }

    /// With the one field of each subscription at its root.
    pub(super) fn settled(&self) -> Result<&ExecutableDocument, ServerError> {
        if let Some(settled) = self.settled.get() {
            return Ok(settled);
        }
        let settled = subscription::settled(&self.document)?;
        Ok(self.settled.get_or_init(|| settled))
    }

    /// Whether it is valid, and within the limits with no variables given. Executes nothing.
    pub async fn validate(&self) -> Result<(), Vec<ServerError>> {
        let name = self.first_name();
        limits::check(&self.document, name.as_deref(), &Variables::default())
            .map_err(|error| vec![error])?;
        self.accept().await
    }

    fn first_name(&self) -> Option<String> {
        match &self.document.operations {
            DocumentOperations::Single(_) => None,
            DocumentOperations::Multiple(operations) => {
                operations.keys().next().map(ToString::to_string)
            }
        }
    }

    /// Whether it is valid, whatever its variables are: found out once. To be called within the limits.
    pub(super) async fn accept(&self) -> Result<(), Vec<ServerError>> {
        if self.is_accepted() {
            return Ok(());
        }
        let mut request = Request::new("");
        request.operation_name = self.first_name();
        let settled = self.settled().map_err(|error| vec![error])?;
        request.set_parsed_query(settled.clone());
        let answer = VALIDATING.execute(request).await;
        if !answer.errors.is_empty() {
            return Err(answer.errors);
        }
        once::check(&self.document).map_err(|error| vec![error])?;
        let errors = shape::check_literals(&self.document);
        if !errors.is_empty() {
            return Err(errors);
        }
        self.accepted.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn bytes(&self) -> usize {
        DOCUMENT_BYTES + self.text.len() * TREE_FACTOR
    }
}

/// The schema with an engine that stops where execution would begin.
pub(super) static VALIDATING: LazyLock<Schema> =
    LazyLock::new(|| super::build().extension(Halt).finish());

struct Halt;

impl ExtensionFactory for Halt {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Halt {
    async fn execute(
        &self,
        _: &ExtensionContext<'_>,
        _: Option<&str>,
        _: NextExecute<'_>,
    ) -> Response {
        Response::default()
    }
}

/// Every document that this process knows. Clones share it.
#[derive(Clone)]
pub struct Documents {
    known: Cache<Hash, Arc<Known>>,
    /// By who registered them: automatic persisted queries.
    registered: Cache<(Option<TenantId>, Hash), Arc<Known>>,
    /// By who trusts them.
    trusted: Cache<(TenantId, Hash), Arc<Known>>,
}

impl Default for Documents {
    fn default() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(KNOWN_BYTES_MAX)
                .weigher(|_, known: &Arc<Known>| weight(known))
                .build(),
            registered: Cache::builder()
                .max_capacity(REGISTERED_BYTES_MAX)
                .weigher(|_, known: &Arc<Known>| weight(known))
                .time_to_idle(REGISTERED_IDLE)
                .build(),
            trusted: Cache::builder()
                .max_capacity(TRUSTED_BYTES_MAX)
                .weigher(|_, known: &Arc<Known>| weight(known))
                .time_to_live(TRUSTED_KEPT)
                .support_invalidation_closures()
                .build(),
        }
    }
}

fn weight(known: &Known) -> u32 {
    u32::try_from(known.bytes()).unwrap_or(u32::MAX)
}

impl Documents {
    /// The document of this text. One that is known is not read again.
    pub async fn read(&self, text: &str) -> Result<Arc<Known>, Unparsed> {
        // One that is too long is refused before it is hashed.
        if text.len() > document::BYTES_MAX {
            document::parse(text)?;
        }
        let hash = Sha256::digest(text).into();
        if let Some(known) = self.known.get(&hash).await {
            return Ok(known);
        }
        let known = Arc::new(Known::new(hash, text)?);
        self.known.insert(hash, Arc::clone(&known)).await;
        Ok(known)
    }

    /// The document that `tenant` trusts under this hash; `text` reads it from where the tenant's rows are.
    pub async fn trusted(
        &self,
        tenant: TenantId,
        hash: Hash,
        text: impl Future<Output = Result<Option<String>>> + Send,
    ) -> Result<Option<Arc<Known>>> {
        if let Some(known) = self.trusted.get(&(tenant, hash)).await {
            return Ok(Some(known));
        }
        let Some(text) = text.await? else {
            return Ok(None);
        };
        // a text that was valid when it was pushed, and is too long for a newer version of the product
        let Ok(known) = self.read(&text).await else {
            return Ok(None);
        };
        self.trusted
            .insert((tenant, hash), Arc::clone(&known))
            .await;
        Ok(Some(known))
    }

    /// Looks all of the tenant's trusted documents up again.
    pub fn distrust(&self, tenant: TenantId) {
        let of_tenant = move |key: &(TenantId, Hash), _: &Arc<Known>| key.0 == tenant;
        if let Err(error) = self.trusted.invalidate_entries_if(of_tenant) {
            tracing::error!(%error, "trusted documents are remembered for some seconds");
        }
    }

    /// The document that `tenant` has registered under this hash.
    pub async fn registered(&self, tenant: Option<TenantId>, hash: Hash) -> Option<Arc<Known>> {
        self.registered.get(&(tenant, hash)).await
    }

    /// Lets `tenant` ask for the document by its hash from now on, if the engine finds it valid.
    pub async fn register(&self, tenant: Option<TenantId>, known: &Arc<Known>) {
        if known.validate().await.is_ok() {
            let key = (tenant, known.hash());
            self.registered.insert(key, Arc::clone(known)).await;
        }
    }
}

/// The document that a request carries with it.
pub(super) fn of(request: &Request) -> Option<Arc<Known>> {
    let known = request.data.get(&TypeId::of::<Arc<Known>>())?;
    known.downcast_ref().cloned()
}

/// A text that is no document, as the engine says such things.
pub(super) fn refused(unparsed: Unparsed) -> ServerError {
    match unparsed {
        Unparsed::Refused(refusal) => limits::too_complex(refusal.to_string()),
        Unparsed::Syntax { message, locations } => ServerError {
            locations,
            ..ServerError::new(message, None)
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering};

    use async_graphql::{Request, Variables};
    use serde_json::{Value, json};

    use super::{Documents, Known, Schema};
    use crate::schema::{Ready, execute, executing};

    async fn run(schema: &Schema, documents: &Documents, text: &str, variables: Value) -> Value {
        let request = Request::new(text).variables(Variables::from_json(variables));
        let ready = Ready::new(documents, request).await.unwrap();
        let answered = execute(schema, ready, |request| request).await;
        serde_json::to_value(answered.response).unwrap()
    }

    #[tokio::test]
    async fn a_document_is_parsed_and_validated_once() {
        let (schema, documents) = (executing().finish(), Documents::default());
        let text = "query ($name: String!) { __typename __type(name: $name) { kind } }";
        let known: Arc<Known> = documents.read(text).await.unwrap();
        assert!(!known.is_accepted());
        let answer = run(&schema, &documents, text, json!({"name": "Contact"})).await;
        assert_eq!(answer["data"]["__type"]["kind"], "OBJECT", "{answer}");
        assert!(known.is_accepted());
        assert!(Arc::ptr_eq(&known, &documents.read(text).await.unwrap()));
        // a wrong variable is refused all the same
        for variables in [json!({}), json!({"name": 5})] {
            let answer = run(&schema, &documents, text, variables).await;
            assert_eq!(answer["data"], Value::Null, "{answer}");
            let message = answer["errors"][0]["message"].as_str().unwrap();
            assert!(
                message.starts_with("Invalid value for a variable, "),
                "{message}"
            );
        }

        let wrong = "{ __typename nothing }";
        let refused = run(&schema, &documents, wrong, json!({})).await;
        assert_eq!(
            refused["errors"][0]["message"],
            "Unknown field \"…\" on type \"Query\"."
        );
        // were it known as valid, nobody would ask
        let known = documents.read(wrong).await.unwrap();
        known.accepted.store(true, Ordering::Relaxed);
        let answer = run(&schema, &documents, wrong, json!({})).await;
        assert_eq!(answer["data"]["__typename"], "Query", "{answer}");
    }
}
