//! One flag for one subject: the order of evaluation, and the two readings compared.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::definition::{Definitions, Flag, Rules};
use super::hash;
use super::subject::{Properties, Subject};
use super::verdict::{Cause, MISSING, Reach, Reading, Readings, UNSUPPORTED, Undecided, Verdict};

/// Filters looked at for one flag before it is given up as undecided. Cohorts that name
/// each other many times would otherwise take exponential time.
const STEPS_MAX: u32 = 10_000;

/// The value of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// On or off.
    Bool(bool),
    /// On, with this variant.
    Variant(String),
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value every PostHog client would give.
    Value(FlagValue),
    /// Only PostHog can tell: ask `/flags`.
    Undecided(Undecided),
}

/// Why a flag has its value, in PostHog's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No condition applies.
    NoConditionMatch,
    /// A condition applies, the rollout leaves the subject out.
    OutOfRolloutBound,
    /// The flag or a condition is about a group the subject is not in.
    NoGroupType,
    /// A condition applies.
    ConditionMatch,
    /// The subject is held out.
    HoldoutConditionValue,
    /// The subject joined or left an early-access feature.
    SuperConditionValue,
    /// The flag is switched off.
    FlagDisabled,
}

impl Reason {
    /// PostHog's `reason.code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoConditionMatch => "no_condition_match",
            Self::OutOfRolloutBound => "out_of_rollout_bound",
            Self::NoGroupType => "no_group_type",
            Self::ConditionMatch => "condition_match",
            Self::HoldoutConditionValue => "holdout_condition_value",
            Self::SuperConditionValue => "super_condition_value",
            Self::FlagDisabled => "flag_disabled",
        }
    }
}

/// The outcome of a flag for a subject, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The value, or that it is undecided.
    pub outcome: Outcome,
    /// Why; absent when undecided.
    pub reason: Option<Reason>,
    /// The condition that decided, from 0. With no match, the last one that came furthest.
    pub condition_index: Option<usize>,
    /// The payload of an enabled flag's value. Encrypted payloads are never shown.
    pub payload: Option<Value>,
}

/// A flag's value before it is named: an index into the flag's variants, or the holdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Bool(bool),
    Variant(usize),
    Holdout,
}

/// A decided flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) answer: Answer,
    pub(super) reason: Reason,
    pub(super) condition: Option<usize>,
}

pub(super) type Decision = Result<Found, Undecided>;

/// The outcome of a flag that others depend on, kept for a subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    pub(super) decision: Result<Answer, Undecided>,
    /// The clients may differ on it.
    pub(super) differs: bool,
}

/// One outcome per flag and reading.
pub(super) type Memo = Readings<Vec<Option<Settled>>>;

/// What a flag's conditions see of the subject.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) properties: Properties<'a>,
    /// What Python buckets a dependency by.
    pub(super) id: &'a str,
    /// The properties are the person's, so that outcomes hold for the whole subject.
    pub(super) person: bool,
}

/// One evaluation under one reading.
pub(super) struct Run<'a, 'm> {
    pub(super) definitions: &'a Definitions,
    pub(super) subject: &'a Subject<'a>,
    pub(super) now: DateTime<Utc>,
    pub(super) reading: Reading,
    /// A rule was met that the other client reads differently.
    pub(super) differs: bool,
    pub(super) steps_left: u32,
    pub(super) memo: &'m mut Memo,
    /// Cohorts being evaluated, outermost first.
    pub(super) open_cohorts: Vec<&'a str>,
    /// Flags being evaluated, outermost first.
    pub(super) open_flags: Vec<usize>,
}

impl Definitions {
    /// Evaluates one flag; `None` if there is no flag of that key. `now` is what relative
    /// dates are relative to.
    pub fn evaluate(
        &self,
        key: &str,
        subject: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Option<Evaluation> {
        let index = *self.by_key.get(key)?;
        Some(self.evaluate_at(index, subject, now, &mut self.memo()))
    }

    /// Evaluates every flag, in the order of the definitions. A flag that others depend on
    /// is evaluated for them once.
    pub fn evaluate_all<'d>(
        &'d self,
        subject: &Subject<'_>,
        now: DateTime<Utc>,
    ) -> Vec<(&'d str, Evaluation)> {
        let mut memo = self.memo();
        let flags = self.flags.iter().enumerate();
        flags
            .map(|(index, flag)| {
                let evaluation = self.evaluate_at(index, subject, now, &mut memo);
                (flag.key.as_str(), evaluation)
            })
            .collect()
    }

    pub(super) fn memo(&self) -> Memo {
        let empty = || vec![None; self.flags.len()];
        Readings {
            python: empty(),
            node: empty(),
        }
    }

    fn evaluate_at(
        &self,
        index: usize,
        subject: &Subject<'_>,
        now: DateTime<Utc>,
        memo: &mut Memo,
    ) -> Evaluation {
        let flag = &self.flags[index];
        let mut run = Run::new(self, subject, now, Reading::Python, memo);
        let python = run.flag(index);
        if !run.differs {
            return flag.evaluation(python);
        }
        let node = Run::new(self, subject, now, Reading::Node, memo).flag(index);
        flag.evaluation(agreed(python, node))
    }
}

/// What both clients answer, or undecided.
fn agreed(python: Decision, node: Decision) -> Decision {
    match (python, node) {
        (Ok(python), Ok(node)) if python.answer == node.answer => Ok(python),
        (Ok(_), Ok(_)) => Err(UNSUPPORTED),
        (Err(python), Err(node))
            if python.reach == Reach::RequiresServer && node.reach == Reach::RequiresServer =>
        {
            Err(python.because(python.cause.min(node.cause)))
        }
        (Err(python), Err(node)) => Err(python.joined(Some(node))),
        (Err(undecided), Ok(_)) | (Ok(_), Err(undecided)) => Err(undecided.joined(None)),
    }
}

impl Flag {
    fn evaluation(&self, decision: Decision) -> Evaluation {
        match decision {
            Err(undecided) => Evaluation {
                outcome: Outcome::Undecided(undecided),
                reason: None,
                condition_index: None,
                payload: None,
            },
            Ok(found) => {
                let variant = self.variant(found.answer);
                let payload = match (found.answer, variant) {
                    (Answer::Bool(false), _) => None,
                    (_, Some(variant)) => self.payloads.get(variant),
                    (_, None) => self.payloads.get("true"),
                };
                Evaluation {
                    payload: payload.cloned(),
                    outcome: Outcome::Value(match (found.answer, variant) {
                        (_, Some(variant)) => FlagValue::Variant(variant.to_owned()),
                        (answer, None) => FlagValue::Bool(answer != Answer::Bool(false)),
                    }),
                    reason: Some(found.reason),
                    condition_index: found.condition,
                }
            }
        }
    }

    /// The name of a variant or of the holdout.
    pub(super) fn variant(&self, answer: Answer) -> Option<&str> {
        let rules = self.rules.as_ref()?;
        match answer {
            Answer::Bool(_) => None,
            Answer::Variant(index) => Some(&rules.variants.get(index)?.key),
            Answer::Holdout => Some(&rules.holdout.as_ref()?.value),
        }
    }
}

impl<'a, 'm> Run<'a, 'm> {
    pub(super) const fn new(
        definitions: &'a Definitions,
        subject: &'a Subject<'a>,
        now: DateTime<Utc>,
        reading: Reading,
        memo: &'m mut Memo,
    ) -> Self {
        Self {
            definitions,
            subject,
            now,
            reading,
            differs: false,
            steps_left: STEPS_MAX,
            memo,
            open_cohorts: Vec::new(),
            open_flags: Vec::new(),
        }
    }

    /// The answer of this reading; notes when the other one differs.
    pub(super) fn settle(&mut self, verdicts: Readings<Verdict>) -> Verdict {
        self.differs |= verdicts.differ();
        *verdicts.get(self.reading)
    }

    /// Counts one filter; an exhausted run stays undecided to its end.
    pub(super) fn step(&mut self) -> Result<(), Undecided> {
        self.steps_left = self.steps_left.saturating_sub(1);
        self.check_steps()
    }

    pub(super) const fn check_steps(&self) -> Result<(), Undecided> {
        if self.steps_left == 0 {
            Err(UNSUPPORTED)
        } else {
            Ok(())
        }
    }

    /// Evaluates a flag with all that is known of the subject.
    pub(super) fn flag(&mut self, index: usize) -> Decision {
        let flag = &self.definitions.flags[index];
        if !flag.active {
            return Ok(Found::unmatched(Reason::FlagDisabled));
        }
        if flag.experience_continuity {
            return Err(Undecided::inconclusive(Cause::ExperienceContinuity));
        }
        let rules = flag.rules.as_ref().ok_or(UNSUPPORTED)?;
        self.open_flags.push(index);
        let decision = match &rules.group_type {
            Some(group_type) => self.group_flag(flag, rules, group_type),
            None => self.person_flag(flag, rules, self.person()),
        };
        self.open_flags.pop();
        decision
    }

    fn person(&self) -> Context<'a> {
        Context {
            properties: self.subject.person_properties(),
            id: self.subject.distinct_id,
            person: true,
        }
    }

    fn group_flag(&mut self, flag: &'a Flag, rules: &'a Rules, group_type: &str) -> Decision {
        let name = self
            .definitions
            .group_types
            .get(group_type)
            .ok_or(UNSUPPORTED)?;
        let Some(id) = self.subject.groups.get(name) else {
            return Ok(Found::unmatched(Reason::NoGroupType));
        };
        let properties = self.subject.group_properties.get(name).ok_or(MISSING)?;
        let context = Context {
            properties: Properties::of_group(properties),
            id,
            person: false,
        };
        self.rules(flag, rules, context, id, true)
    }

    fn person_flag(&mut self, flag: &'a Flag, rules: &'a Rules, context: Context<'a>) -> Decision {
        let id = self.bucketing_id(rules, context.id)?;
        self.rules(flag, rules, context, id, true)
    }

    /// The id a person flag is bucketed by.
    pub(super) fn bucketing_id(
        &mut self,
        rules: &Rules,
        distinct_id: &'a str,
    ) -> Result<&'a str, Undecided> {
        let by_device = rules.by_device;
        if !by_device.python && !by_device.node {
            return Ok(distinct_id);
        }
        let given = self.subject.device_id.filter(|id| !id.is_empty());
        let property = self
            .subject
            .properties
            .get("$device_id")
            .and_then(Value::as_str);
        let devices = Readings {
            python: given,
            node: property.filter(|id| !id.is_empty()).or(given),
        };
        self.differs |= by_device.python != by_device.node || devices.python != devices.node;
        if *by_device.get(self.reading) {
            devices.get(self.reading).ok_or(MISSING)
        } else {
            Ok(distinct_id)
        }
    }

    /// Early access and holdout come before any condition. `groups_visible` is false where
    /// a client evaluates a dependency without the subject's groups.
    pub(super) fn rules(
        &mut self,
        flag: &'a Flag,
        rules: &'a Rules,
        context: Context<'a>,
        id: &'a str,
        groups_visible: bool,
    ) -> Decision {
        if let Some(property) = &rules.enrollment {
            self.differs = true;
            if self.reading == Reading::Python {
                return enrollment(rules, property, context);
            }
        }
        if let Some(holdout) = &rules.holdout
            && (holdout.percentage >= 100.0 || hash::holdout(id) <= holdout.percentage / 100.0)
        {
            return Ok(Found {
                answer: Answer::Holdout,
                ..Found::unmatched(Reason::HoldoutConditionValue)
            });
        }
        self.conditions(flag, rules, context, id, groups_visible)
    }
}

fn enrollment(rules: &Rules, property: &str, context: Context<'_>) -> Decision {
    if rules.group_type.is_some() {
        return Err(UNSUPPORTED);
    }
    let enrolled = context.properties.get(property).ok_or(MISSING)?;
    Ok(Found {
        answer: Answer::Bool(enrolled.is_true_or_named_true()),
        ..Found::unmatched(Reason::SuperConditionValue)
    })
}

impl Found {
    pub(super) const fn unmatched(reason: Reason) -> Self {
        Self {
            answer: Answer::Bool(false),
            reason,
            condition: None,
        }
    }
}
