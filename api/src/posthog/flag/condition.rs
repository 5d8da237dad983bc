//! The conditions of a flag, in listed order.

use super::definition::{Condition, Flag, Rules};
use super::evaluate::{Answer, Context, Decision, Found, Reason, Run};
use super::filter::Filter;
use super::hash;
use super::subject::Properties;
use super::verdict::{MISSING, Reach, UNSUPPORTED, Undecided, Verdict};

/// How a condition turned out.
enum Match {
    Yes,
    No(Reason),
}

/// A flag and the id it is bucketed by; both hashes are computed at most once per id.
struct Bucket<'a> {
    flag: &'a Flag,
    rules: &'a Rules,
    id: &'a str,
    rollout: Option<f64>,
}

impl<'a> Bucket<'a> {
    const fn new(flag: &'a Flag, rules: &'a Rules, id: &'a str) -> Self {
        Self {
            flag,
            rules,
            id,
            rollout: None,
        }
    }

    fn misses(&mut self, percentage: Option<f64>) -> bool {
        percentage.is_some_and(|percentage| {
            let hash = *self
                .rollout
                .get_or_insert_with(|| hash::bucket(&self.flag.key, self.id, ""));
            hash > percentage / 100.0
        })
    }

    /// The value of a matching condition: its own variant, else the hashed one, else on.
    fn answer(&self, condition: &Condition) -> Answer {
        let variants = &self.rules.variants;
        let index = condition.variant.or_else(|| {
            if variants.is_empty() {
                return None;
            }
            let hash = hash::bucket(&self.flag.key, self.id, "variant");
            variants.iter().position(|variant| hash < variant.end)
        });
        match index {
            Some(index) if !variants[index].key.is_empty() => Answer::Variant(index),
            _ => Answer::Bool(true),
        }
    }
}

impl<'a> Run<'a, '_> {
    pub(super) fn conditions(
        &mut self,
        flag: &'a Flag,
        rules: &'a Rules,
        context: Context<'a>,
        id: &'a str,
        groups_visible: bool,
    ) -> Decision {
        let mut undecided: Option<Undecided> = None;
        // What undecided patterns would have chosen: a later condition must choose the same.
        let mut possible: Vec<Answer> = Vec::new();
        let mut best = Found::unmatched(Reason::NoConditionMatch);
        let mut own_bucket = Bucket::new(flag, rules, id);
        for (index, condition) in rules.conditions.iter().enumerate() {
            let mut group_bucket;
            let (context, bucket) = match &condition.group_type {
                None => (context, &mut own_bucket),
                Some(group_type) => match self.group(group_type, context, groups_visible) {
                    Ok(Some((context, id))) => {
                        group_bucket = Bucket::new(flag, rules, id);
                        (context, &mut group_bucket)
                    }
                    Ok(None) => {
                        best.raise(Reason::NoGroupType, index);
                        continue;
                    }
                    Err(missing) => {
                        undecided = Some(missing.joined(undecided));
                        continue;
                    }
                },
            };
            match self.condition(condition, context, bucket) {
                Ok(Match::Yes) => {
                    let answer = bucket.answer(condition);
                    if let Some(undecided) = undecided
                        && possible.iter().any(|possible| *possible != answer)
                    {
                        return Err(undecided);
                    }
                    return Ok(Found {
                        answer,
                        reason: Reason::ConditionMatch,
                        condition: Some(index),
                    });
                }
                Ok(Match::No(reason)) => {
                    best.raise(reason, index);
                    if rules.early_exit && reason == Reason::OutOfRolloutBound {
                        break;
                    }
                }
                Err(blocked) if blocked.reach == Reach::RequiresServer => {
                    let earlier = undecided.map_or(blocked.cause, |earlier| earlier.cause);
                    return Err(blocked.because(blocked.cause.min(earlier)));
                }
                Err(skipped) => {
                    if skipped.pattern {
                        let out = rules.early_exit && bucket.misses(condition.rollout);
                        possible.push(if out {
                            Answer::Bool(false)
                        } else {
                            bucket.answer(condition)
                        });
                    }
                    undecided = Some(skipped.joined(undecided));
                }
            }
        }
        undecided.map_or(Ok(best), Err)
    }

    /// The group a condition is about, instead of what the flag is about; `None` if the
    /// subject is not in such a group.
    fn group(
        &self,
        group_type: &str,
        context: Context<'a>,
        groups_visible: bool,
    ) -> Result<Option<(Context<'a>, &'a str)>, Undecided> {
        let name = self.definitions.group_types.get(group_type);
        let Some(name) = name.filter(|_| groups_visible) else {
            return Ok(None);
        };
        let Some(id) = self.subject.groups.get(name) else {
            return Ok(None);
        };
        let properties = self.subject.group_properties.get(name).ok_or(MISSING)?;
        let properties = Properties::of_group(properties);
        let person = false;
        Ok(Some((
            Context {
                properties,
                person,
                ..context
            },
            id,
        )))
    }

    /// All filters must match, then the rollout. A definite mismatch beats an undecided
    /// neighbour.
    fn condition(
        &mut self,
        condition: &'a Condition,
        context: Context<'a>,
        bucket: &mut Bucket<'a>,
    ) -> Result<Match, Undecided> {
        let mut undecided: Option<Undecided> = None;
        let mut blocked: Option<Undecided> = None;
        for filter in &condition.filters {
            match self.filter(filter, context) {
                Ok(true) => {}
                Ok(false) => return Ok(Match::No(Reason::NoConditionMatch)),
                Err(failed) => {
                    // The server is needed at once only if nothing was undecided before.
                    if failed.reach == Reach::RequiresServer && undecided.is_none() {
                        blocked = Some(failed);
                    }
                    undecided = Some(failed.joined(undecided));
                }
            }
        }
        if let Some(undecided) = blocked.or(undecided) {
            return Err(undecided);
        }
        Ok(if bucket.misses(condition.rollout) {
            Match::No(Reason::OutOfRolloutBound)
        } else {
            Match::Yes
        })
    }

    /// Whether one filter matches.
    pub(super) fn filter(&mut self, filter: &'a Filter, context: Context<'a>) -> Verdict {
        self.step()?;
        match filter {
            Filter::Property(property) => {
                let verdicts = property.matches(context.properties, self.now);
                self.settle(verdicts)
            }
            Filter::Cohort(cohort) => self.cohort(cohort, context),
            Filter::Dependency(dependency) => self.dependency(dependency, context),
            Filter::Unknown => Err(UNSUPPORTED),
        }
    }
}

impl Found {
    /// Keeps the reason that came furthest, the later of two equal ones.
    fn raise(&mut self, reason: Reason, index: usize) {
        if reason >= self.reason {
            self.reason = reason;
            self.condition = Some(index);
        }
    }
}
