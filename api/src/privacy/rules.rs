//! Receipts: what a store answered, under a mark that only this installation can make.

use chrono::{DateTime, SecondsFormat, Utc};
use entity::{Id, erasure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;

use crate::base::{Result, Secrets, hex};

/// Where something of a person may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ErasureStore {
    /// The tables of GrowthOS.
    Database,
    /// The PostHog project that the tenant is connected to.
    Posthog,
}

/// What a store did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum ErasureOutcome {
    /// Nothing is left.
    Done,
    /// The store took the order, and deletes in its own time.
    Accepted,
    /// There is no such store: the tenant is not connected to one.
    NotApplicable,
    /// It did not do it yet; it is asked again.
    Waiting,
}

/// What a store answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) store: ErasureStore,
    pub(super) outcome: ErasureOutcome,
    /// When it answered.
    pub(super) at: DateTime<Utc>,
    /// Rows deleted, by table.
    pub(super) rows: Map<String, Value>,
    /// What it said, where it did not do it.
    pub(super) message: Option<String>,
    /// What is signed.
    pub(super) statement: String,
    /// HMAC of the statement, lower-case hex.
    pub(super) signature: String,
}

/// An answer, before it is signed.
pub(super) struct Answer {
    pub(super) store: ErasureStore,
    pub(super) outcome: ErasureOutcome,
    pub(super) rows: Map<String, Value>,
    pub(super) message: Option<String>,
}

impl Receipt {
    pub(super) fn sign(
        secrets: &Secrets,
        erasure: Id<erasure::Entity>,
        at: DateTime<Utc>,
        answer: Answer,
    ) -> Result<Self> {
        let Answer {
            store,
            outcome,
            rows,
            message,
        } = answer;
        let statement = serde_json::to_string(&json!({
            "erasureId": erasure.to_string(),
            "store": store,
            "outcome": outcome,
            "at": at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "rows": rows,
            "message": message,
        }))?;
        Ok(Self {
            signature: signature(secrets, &statement),
            store,
            outcome,
            at,
            rows,
            message,
            statement,
        })
    }
    /// Puts this receipt in the place of the store's former one.
    pub(super) fn file(self, receipts: &Value) -> Result<Value> {
        let mut filed: Vec<Self> = serde_json::from_value(receipts.clone())?;
        filed.retain(|other| other.store != self.store);
        filed.push(self);
        Ok(serde_json::to_value(filed)?)
    }
}

/// Whether this installation signed the statement.
pub fn is_signed(secrets: &Secrets, statement: &str, given: &str) -> bool {
    signature(secrets, statement)
        .as_bytes()
        .ct_eq(given.as_bytes())
        .into()
}

fn signature(secrets: &Secrets, statement: &str) -> String {
    hex(&secrets.mark(format!("erasure/{statement}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(outcome: ErasureOutcome) -> Receipt {
        let answer = Answer {
            store: ErasureStore::Posthog,
            outcome,
            rows: Map::new(),
            message: None,
        };
        let erasure = Id::from_uuid(uuid::Uuid::nil());
        Receipt::sign(&Secrets::new("k"), erasure, DateTime::UNIX_EPOCH, answer).unwrap()
    }

    #[test]
    fn a_store_has_one_receipt_which_says_what_it_did_last() {
        let filed = receipt(ErasureOutcome::Waiting).file(&json!([])).unwrap();
        let filed = receipt(ErasureOutcome::Accepted).file(&filed).unwrap();
        assert_eq!(filed.as_array().unwrap().len(), 1);
        assert_eq!(filed[0]["outcome"], "accepted");
    }

    #[test]
    fn a_receipt_that_was_altered_does_not_carry_its_signature() {
        let receipt = receipt(ErasureOutcome::Waiting);
        let secrets = Secrets::new("k");
        assert_eq!(signature(&secrets, &receipt.statement), receipt.signature);
        let altered = receipt.statement.replace("waiting", "done");
        assert_ne!(altered, receipt.statement);
        assert_ne!(signature(&secrets, &altered), receipt.signature);
        assert_ne!(
            signature(&Secrets::new("other"), &receipt.statement),
            receipt.signature
        );
    }
}
