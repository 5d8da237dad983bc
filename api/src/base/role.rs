//! What a member of a tenant may do.

use serde::{Deserialize, Serialize};

/// What a member of the tenant may do; each includes the ones after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Everything there is, and all that is yet to come: the scope `*`.
    Owner,
    /// Every scope that has a name: keys, issuers and the connection to PostHog too.
    Admin,
    /// Reads and writes what the tenant works with, and sees its settings; makes no keys and no tokens, erases nobody, and sees no
    /// trait that is marked as personal.
    Editor,
    /// Reads everything and writes nothing.
    Viewer,
}

impl MemberRole {
    /// From the most to the least.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Editor, Self::Viewer];

    /// Whether the role holds `scope`, such as `contacts:read`; `*` is the owner's alone.
    pub fn holds(self, scope: &str) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => scope != "*",
            Self::Editor => {
                scope == "tenant:read"
                    || (!["*", "contacts:pii", "privacy:write"].contains(&scope)
                        && !scope.starts_with("tenant:")
                        && !scope.starts_with("tokens:"))
            }
            Self::Viewer => scope.ends_with(":read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::gql::SCOPES;

    #[test]
    fn each_role_holds_exactly_these_scopes() {
        let held = |role: MemberRole| -> Vec<&str> {
            SCOPES
                .iter()
                .copied()
                .filter(|scope| role.holds(scope))
                .collect()
        };
        assert_eq!(held(MemberRole::Owner), SCOPES);
        assert_eq!(held(MemberRole::Admin), SCOPES[1..]);
        assert_eq!(
            held(MemberRole::Editor),
            [
                "analytics:read",
                "analytics:write",
                "contacts:read",
                "contacts:write",
                "events:read",
                "events:write",
                "nudges:read",
                "nudges:write",
                "privacy:read",
                "segments:read",
                "segments:write",
                "tenant:read",
            ]
        );
        assert_eq!(
            held(MemberRole::Viewer),
            [
                "analytics:read",
                "contacts:read",
                "events:read",
                "nudges:read",
                "privacy:read",
                "segments:read",
                "tenant:read"
            ]
        );
    }
}
