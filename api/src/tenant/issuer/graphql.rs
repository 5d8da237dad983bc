use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Json, Object, SimpleObject};
use chrono::TimeDelta;
use entity::{Id, issuer};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{
    super::jwt::ALGORITHMS,
    commands::{NewIssuer, Source, delete_issuer, no_such_issuer, save_issuer},
    rules,
};
use crate::base::{
    Error, MemberRole, Outbound, Result,
    gql::{self, CxExt, Duration, Url, UserErrors, outcome},
    instant::Instant,
};

/// Who signs tokens that the tenant believes: the identity provider of its members, or the backend that speaks for its contacts.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct Issuer {
    #[graphql(skip)]
    row: issuer::Model,
    /// Names the issuer; does not change.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// Whom its tokens speak for.
    kind: IssuerKind,
    /// What the claim `iss` of its tokens is, letter for letter.
    #[graphql(name = "issuer")]
    iss: String,
    /// What the claim `aud` of its tokens is, or holds.
    audience: String,
    /// Where it publishes its public keys; absent where they come otherwise.
    jwks_url: Option<Url>,
    /// Whether its tokens are signed with a secret that both sides know. The secret is never shown.
    has_shared_secret: bool,
    /// The claim that says who it is; a name, or a JSON pointer such as `/user/id`.
    subject_claim: String,
    /// What that claim holds; of contacts' issuers alone.
    subject_is: Option<IssuerSubject>,
    /// The claim that holds a member's role, or several; a name, or a JSON pointer such as `/realm_access/roles`.
    role_claim: Option<String>,
    /// Tokens that end later than this from now are refused.
    lifetime_max: Duration,
    /// When it was registered.
    created_at: Instant,
    /// When it was changed last.
    updated_at: Instant,
}

#[ComplexObject]
impl Issuer {
    /// The algorithms that its tokens may be signed with.
    async fn algorithms(&self) -> Result<Vec<JwtAlgorithm>> {
        let names: Vec<String> = serde_json::from_value(self.row.algorithms.clone())?;
        Ok(JwtAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| names.iter().any(|name| name == algorithm.named().0))
            .collect())
    }
    /// Its registered public keys, as JWKs; empty where they come otherwise.
    async fn public_keys(&self) -> Result<Vec<Json<Value>>> {
        match &self.row.public_keys {
            Some(keys) => Ok(serde_json::from_value(keys.clone())?),
            None => Ok(vec![]),
        }
    }
    /// Which values of the role's claim stand for which role; a token with none of them is refused.
    async fn roles(&self) -> Result<Vec<IssuerRole>> {
        let roles = rules::roles_of(&self.row)?;
        Ok(roles
            .into_iter()
            .map(|(value, role)| IssuerRole { value, role })
            .collect())
    }
}

impl From<issuer::Model> for Issuer {
    fn from(row: issuer::Model) -> Self {
        Self {
            id: row.id.to_string().into(),
            kind: row.kind.into(),
            iss: row.iss.clone(),
            audience: row.audience.clone(),
            jwks_url: row.jwks_url.clone().map(Url),
            has_shared_secret: row.secret.is_some(),
            subject_claim: row.subject_claim.clone(),
            subject_is: row.subject_is.map(Into::into),
            role_claim: row.role_claim.clone(),
            lifetime_max: Duration(TimeDelta::seconds(row.lifetime_max_s)),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            row,
        }
    }
}

/// Whom an issuer's tokens speak for.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "issuer::Kind")]
pub enum IssuerKind {
    /// The tenant's own people, with a role.
    Member,
    /// The tenant's contacts, each for itself.
    Contact,
}

/// What the claim that names a contact holds.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "issuer::SubjectIs")]
pub enum IssuerSubject {
    /// The id that the tenant's own product knows the contact by: its `externalId`.
    ExternalId,
    /// The contact's id here: `contact_…`.
    ContactId,
}

/// An algorithm that signs tokens, by its name in RFC 7518 and RFC 8037.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, by a shared secret.
    Hs256,
    /// HMAC with SHA-384, by a shared secret.
    Hs384,
    /// HMAC with SHA-512, by a shared secret.
    Hs512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, with SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, with SHA-512.
    Rs512,
    /// RSA, PSS, with SHA-256.
    Ps256,
    /// RSA, PSS, with SHA-384.
    Ps384,
    /// RSA, PSS, with SHA-512.
    Ps512,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// Ed25519.
    #[graphql(name = "EDDSA")]
    EdDsa,
}

impl JwtAlgorithm {
    const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// Its name in a token's header. The two tables are in the same order.
    fn named(self) -> (&'static str, Algorithm) {
        ALGORITHMS[self as usize]
    }
}

/// A role, and how the identity provider calls it.
#[derive(SimpleObject)]
pub(super) struct IssuerRole {
    /// A value of the role's claim.
    value: String,
    /// What it stands for.
    role: MemberRole,
}

/// A role, and how the identity provider calls it.
#[derive(InputObject)]
struct IssuerRoleInput {
    /// A value of the role's claim, letter for letter.
    value: String,
    /// What it stands for.
    role: MemberRole,
}

/// An issuer to register, or to change. A change gives everything but the keys, which stay unless given anew.
#[derive(InputObject)]
struct IssuerSaveInput {
    /// The issuer to change; a new one is made without it.
    id: Option<ID>,
    /// Whom its tokens speak for.
    kind: IssuerKind,
    /// What the claim `iss` of its tokens is, letter for letter; 1 to 255 characters.
    issuer: String,
    /// What the claim `aud` of its tokens is or holds: the tenant's id unless given. A token with the tenant's id in `aud`
    /// needs no other word of which tenant it is for.
    audience: Option<String>,
    /// The algorithms that its tokens may be signed with; at least one.
    algorithms: Vec<JwtAlgorithm>,
    /// Where it publishes its public keys as a JWK Set; `https`. One of `jwksUrl`, `sharedSecret` and `publicKeys` is given.
    jwks_url: Option<Url>,
    /// A secret that signs its tokens, of at least 32 bytes; it is stored sealed and never shown.
    shared_secret: Option<String>,
    /// Public keys that check its tokens, in PEM (`BEGIN PUBLIC KEY`) or as JWKs; 1 to 10.
    public_keys: Option<Vec<String>>,
    /// The claim that says who it is; a name, or a JSON pointer.
    #[graphql(default = "sub")]
    subject_claim: String,
    /// What that claim holds: `EXTERNAL_ID` unless given. For contacts alone.
    subject_is: Option<IssuerSubject>,
    /// The claim that holds a member's role, or a list of them; a name, or a JSON pointer. For members alone.
    role_claim: Option<String>,
    /// Which values of that claim stand for which role; of several the one that may most counts. Nobody gives a role
    /// that holds more than they do themselves.
    #[graphql(default)]
    roles: Vec<IssuerRoleInput>,
    /// Tokens that end later than this from now are refused: at most `P30D` for members and `PT24H` for contacts.
    #[graphql(default_with = "one_day()")]
    lifetime_max: Duration,
}

fn one_day() -> Duration {
    Duration(TimeDelta::days(1))
}

impl IssuerSaveInput {
    fn read(self) -> Result<NewIssuer> {
        let given = [
            self.jwks_url.map(|url| Source::JwksUrl(url.0)),
            self.shared_secret.map(Source::SharedSecret),
            self.public_keys.map(Source::PublicKeys),
        ];
        let mut given = given.into_iter().flatten();
        let source = given.next();
        if given.next().is_some() {
            return Err(Error::invalid(
                "jwksUrl",
                "give one of jwksUrl, sharedSecret and publicKeys, not several",
            ));
        }
        let id = self.id.map(|id| issuer_id(&id)).transpose()?;
        Ok(NewIssuer {
            id,
            kind: self.kind.into(),
            iss: self.issuer,
            audience: self.audience,
            algorithms: self
                .algorithms
                .into_iter()
                .map(JwtAlgorithm::named)
                .collect(),
            source,
            subject_claim: self.subject_claim,
            subject_is: self.subject_is.map(Into::into),
            role_claim: self.role_claim,
            roles: self
                .roles
                .into_iter()
                .map(|role| (role.value, role.role))
                .collect(),
            lifetime_max: self.lifetime_max.0,
        })
    }
}

fn issuer_id(id: &str) -> Result<Id<issuer::Entity>> {
    Id::parse(id).ok_or_else(no_such_issuer)
}

/// An issuer that was registered or changed.
#[derive(SimpleObject)]
struct IssuerSavePayload {
    /// The issuer; absent when nothing was saved.
    issuer: Option<Issuer>,
    #[graphql(flatten)]
    errors: UserErrors,
}

/// An issuer to forget.
#[derive(InputObject)]
struct IssuerDeleteInput {
    /// The issuer's id.
    id: ID,
}

/// An issuer whose tokens are refused from now on.
#[derive(SimpleObject)]
struct IssuerDeletePayload {
    /// The id of the issuer that is no more; absent when there was none.
    deleted_id: Option<ID>,
    #[graphql(flatten)]
    errors: UserErrors,
}

#[derive(Default)]
pub struct IssuerMutation;

#[Object]
impl IssuerMutation {
    /// Registers who may sign tokens for the tenant's members or contacts, or changes it.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn issuer_save(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The issuer.")] input: IssuerSaveInput,
    ) -> async_graphql::Result<IssuerSavePayload> {
        let outbound: &Outbound = ctx.data_unchecked();
        let cx = ctx.cx()?;
        let done = match input.read() {
            Ok(new) => save_issuer(cx, outbound, new).await,
            Err(error) => Err(error),
        };
        let (issuer, errors) = outcome(done)?;
        Ok(IssuerSavePayload {
            issuer: issuer.map(Issuer::from),
            errors,
        })
    }

    /// Forgets an issuer; its tokens are refused at once.
    #[graphql(guard = "gql::TENANT_WRITE", visible = "gql::tenant_write")]
    async fn issuer_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The issuer.")] input: IssuerDeleteInput,
    ) -> async_graphql::Result<IssuerDeletePayload> {
        let done = match issuer_id(&input.id) {
            Ok(id) => {
                ctx.cx()?
                    .write(async |tx| delete_issuer(tx, id).await)
                    .await
            }
            Err(error) => Err(error),
        };
        let (deleted, errors) = outcome(done)?;
        Ok(IssuerDeletePayload {
            deleted_id: deleted.map(|id| id.to_string().into()),
            errors,
        })
    }
}
