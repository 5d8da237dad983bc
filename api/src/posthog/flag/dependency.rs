//! Flags that depend on flags.

use super::definition::Flag;
use super::evaluate::{Answer, Context, Run, Settled};
use super::filter::{Dependency, Expected};
use super::verdict::{Cause, MISSING, Reading, UNSUPPORTED, Undecided, Verdict};

/// Flags within flags before the outermost is given up as undecided.
const NESTING_MAX: usize = 64;

impl<'a> Run<'a, '_> {
    pub(super) fn dependency(
        &mut self,
        dependency: &'a Dependency,
        context: Context<'a>,
    ) -> Verdict {
        if dependency.malformed {
            self.differs = true;
            if self.reading == Reading::Python {
                return Ok(false);
            }
        }
        let chain = dependency.chain.as_deref().unwrap_or_default();
        let by_key = &self.definitions.by_key;
        let known = chain.iter().all(|key| by_key.contains_key(key));
        if chain.is_empty() || !known {
            return Err(UNSUPPORTED);
        }
        let mut target = None;
        for key in chain {
            let index = *self.definitions.by_key.get(key).ok_or(UNSUPPORTED)?;
            let answer = self.dependency_answer(index, context)?;
            if *key == dependency.key {
                target = Some((index, answer));
            }
        }
        let Some((index, answer)) = target else {
            self.differs = true;
            return match self.reading {
                Reading::Python => Err(UNSUPPORTED),
                Reading::Node => Ok(false),
            };
        };
        Ok(dependency
            .expected
            .is(&self.definitions.flags[index], answer))
    }

    fn dependency_answer(
        &mut self,
        index: usize,
        context: Context<'a>,
    ) -> Result<Answer, Undecided> {
        // Python evaluates within the group at hand, so its outcome holds there only.
        let lasting = context.person || self.reading == Reading::Node;
        if let Some(settled) = self.memo.get(self.reading)[index].filter(|_| lasting) {
            self.differs |= settled.differs;
            return settled.decision;
        }
        if self.open_flags.contains(&index) || self.open_flags.len() >= NESTING_MAX {
            return Err(UNSUPPORTED);
        }
        let differed = std::mem::take(&mut self.differs);
        let decision = self
            .evaluate_dependency(index, context)
            .map_err(|undecided| {
                // Whatever it was down there, up here a dependency is what is missing.
                undecided.because(Cause::UnresolvedDependency)
            });
        if lasting && self.check_steps().is_ok() {
            self.memo.get_mut(self.reading)[index] = Some(Settled {
                decision,
                differs: self.differs,
            });
        }
        self.differs |= differed;
        decision
    }

    fn evaluate_dependency(
        &mut self,
        index: usize,
        context: Context<'a>,
    ) -> Result<Answer, Undecided> {
        let flag: &'a Flag = &self.definitions.flags[index];
        let reads_groups = flag
            .rules
            .as_ref()
            .is_some_and(super::definition::Rules::reads_groups);
        self.differs |= flag.active && (reads_groups || !context.person);
        if self.reading == Reading::Node {
            return Ok(self.flag(index)?.answer);
        }
        if !flag.active {
            return Ok(Answer::Bool(false));
        }
        if flag.experience_continuity {
            return Err(MISSING);
        }
        let rules = flag.rules.as_ref().ok_or(UNSUPPORTED)?;
        let id = match rules.group_type {
            Some(_) => context.id,
            None => self.bucketing_id(rules, context.id)?,
        };
        self.open_flags.push(index);
        let found = self.rules(flag, rules, context, id, false);
        self.open_flags.pop();
        Ok(found?.answer)
    }
}

impl Expected {
    /// "Enabled" holds for every variant; a variant's case matters.
    fn is(&self, flag: &Flag, answer: Answer) -> bool {
        match self {
            Self::Enabled(enabled) => (answer != Answer::Bool(false)) == *enabled,
            Self::Variant(wanted) => flag.variant(answer) == Some(wanted),
            Self::Impossible => false,
        }
    }
}
