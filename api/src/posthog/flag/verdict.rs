//! Outcomes that may be missing, and the two readings a rule can have.

/// Why a flag cannot be decided here. The order is the rank: when several causes
/// compete, the first one listed is reported (PostHog's SDK specification,
/// `local-feature-flag-evaluator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The flag keeps its value when a visitor becomes known; only PostHog stores that.
    ExperienceContinuity,
    /// The definition uses something that cannot be evaluated away from PostHog.
    UnsupportedDefinition,
    /// A flag this one depends on is itself undecided.
    UnresolvedDependency,
    /// The subject lacks a property, a device id or a group's properties.
    MissingContext,
}

/// How far an undecided rule reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A later condition may still decide the flag.
    Inconclusive,
    /// Data that only PostHog has is needed: the whole flag is undecided.
    RequiresServer,
}

/// A rule, or a flag, that cannot be decided here: ask `/flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// How far it reaches.
    pub reach: Reach,
    /// Why, highest rank first.
    pub cause: Cause,
    /// A regular expression is among the causes. Such a rule may match on the server
    /// although every SDK skips it, so a later condition may not choose another value.
    pub(super) pattern: bool,
}

impl Undecided {
    pub(super) const fn inconclusive(cause: Cause) -> Self {
        Self {
            reach: Reach::Inconclusive,
            cause,
            pattern: false,
        }
    }

    pub(super) const fn requires_server(cause: Cause) -> Self {
        Self {
            reach: Reach::RequiresServer,
            cause,
            pattern: false,
        }
    }

    pub(super) const fn pattern() -> Self {
        Self {
            pattern: true,
            ..Self::inconclusive(Cause::UnsupportedDefinition)
        }
    }

    /// The same outcome with another cause, where a flag reports what failed below it.
    pub(super) const fn because(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// Two inconclusive rules seen as one.
    pub(super) fn joined(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else {
            return Self {
                reach: Reach::Inconclusive,
                ..self
            };
        };
        Self {
            reach: Reach::Inconclusive,
            cause: self.cause.min(earlier.cause),
            pattern: self.pattern || earlier.pattern,
        }
    }
}

/// The filter itself cannot be evaluated, whoever the subject is.
pub(super) const UNSUPPORTED: Undecided = Undecided::inconclusive(Cause::UnsupportedDefinition);
/// The filter is fine, the subject does not say enough.
pub(super) const MISSING: Undecided = Undecided::inconclusive(Cause::MissingContext);

/// Whether a rule matches, if that can be told.
pub(super) type Verdict = Result<bool, Undecided>;

/// Which reference client a rule is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Python,
    Node,
}

/// One result per reference client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings<T> {
    pub(super) python: T,
    pub(super) node: T,
}

impl<T> Readings<T> {
    pub(super) fn get(&self, reading: Reading) -> &T {
        match reading {
            Reading::Python => &self.python,
            Reading::Node => &self.node,
        }
    }

    pub(super) fn get_mut(&mut self, reading: Reading) -> &mut T {
        match reading {
            Reading::Python => &mut self.python,
            Reading::Node => &mut self.node,
        }
    }
}

impl<T: Copy> Readings<T> {
    pub(super) const fn same(value: T) -> Self {
        Self {
            python: value,
            node: value,
        }
    }
}

impl Readings<Verdict> {
    /// Whether the clients answer differently; their causes are free to differ.
    pub(super) fn differ(self) -> bool {
        match (self.python, self.node) {
            (Ok(python), Ok(node)) => python != node,
            (Err(python), Err(node)) => python.reach != node.reach,
            _ => true,
        }
    }

    pub(super) fn negated_if(self, negated: bool) -> Self {
        Self {
            python: self.python.map(|matched| matched != negated),
            node: self.node.map(|matched| matched != negated),
        }
    }
}
