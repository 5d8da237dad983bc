//! Membership in dynamic cohorts: trees of AND and OR over filters.

use super::evaluate::{Context, Run};
use super::filter::{CohortFilter, Entry, Joint, PropertyGroup};
use super::verdict::{Cause, Reach, Reading, UNSUPPORTED, Undecided, Verdict};

/// Cohorts within cohorts before the flag is given up as undecided.
const NESTING_MAX: usize = 32;

const ONLY_SERVER: Undecided = Undecided::requires_server(Cause::UnsupportedDefinition);

impl<'a> Run<'a, '_> {
    /// A cohort without a definition is static: only PostHog knows its members.
    pub(super) fn cohort(&mut self, filter: &'a CohortFilter, context: Context<'a>) -> Verdict {
        let group = self
            .definitions
            .cohorts
            .get(&filter.id)
            .ok_or(ONLY_SERVER)?;
        if !filter.known_operator {
            self.differs = true;
            if self.reading == Reading::Python {
                return Err(UNSUPPORTED);
            }
        }
        let cyclic = self.open_cohorts.contains(&filter.id.as_str());
        if cyclic || self.open_cohorts.len() >= NESTING_MAX {
            return Err(UNSUPPORTED);
        }
        self.open_cohorts.push(&filter.id);
        let member = self.property_group(group, context);
        self.open_cohorts.pop();
        Ok(member? != filter.negated)
    }

    /// Whether a group of filters matches, as each client walks it.
    pub(super) fn property_group(
        &mut self,
        group: &'a PropertyGroup,
        context: Context<'a>,
    ) -> Verdict {
        let odd_shape = group.everyone.python != group.everyone.node
            || group.joint.python != group.joint.node
            || group
                .entries
                .iter()
                .any(|entry| entry.nested != group.node_nests);
        let empty_or = group.entries.is_empty() && group.joint.python == Some(Joint::Any);
        self.differs |= odd_shape || empty_or;
        if *group.everyone.get(self.reading) {
            return Ok(true);
        }
        let joint = group.joint.get(self.reading).ok_or(ONLY_SERVER)?;
        match self.reading {
            Reading::Python if group.entries.is_empty() => Ok(true),
            Reading::Python => self.group_to_the_end(group, joint, context),
            Reading::Node => self.group_until_decided(group, joint, context),
        }
    }

    /// Python looks at every entry: one that needs the server prevails.
    fn group_to_the_end(
        &mut self,
        group: &'a PropertyGroup,
        joint: Joint,
        context: Context<'a>,
    ) -> Verdict {
        let mut decided = None;
        let mut undecided: Option<Undecided> = None;
        for entry in &group.entries {
            self.check_steps()?;
            match self.entry(entry, entry.nested, context) {
                Ok(matched) if matched != (joint == Joint::All) => decided = Some(matched),
                Ok(_) => {}
                Err(blocked) if blocked.reach == Reach::RequiresServer => {
                    // JavaScript would not have come this far.
                    self.differs |= decided.is_some();
                    return Err(blocked);
                }
                Err(skipped) => undecided = Some(skipped.joined(undecided)),
            }
        }
        match (decided, undecided) {
            (Some(decided), _) => Ok(decided),
            (None, Some(undecided)) => Err(undecided),
            (None, None) => Ok(joint == Joint::All),
        }
    }

    /// JavaScript stops at the first entry that decides.
    fn group_until_decided(
        &mut self,
        group: &'a PropertyGroup,
        joint: Joint,
        context: Context<'a>,
    ) -> Verdict {
        let mut undecided: Option<Undecided> = None;
        for entry in &group.entries {
            self.check_steps()?;
            match self.entry(entry, group.node_nests, context) {
                Ok(matched) if matched != (joint == Joint::All) => return Ok(matched),
                Ok(_) => {}
                Err(blocked) if blocked.reach == Reach::RequiresServer => return Err(blocked),
                Err(skipped) => undecided = Some(skipped.joined(undecided)),
            }
        }
        undecided.map_or(Ok(joint == Joint::All), Err)
    }

    fn entry(&mut self, entry: &'a Entry, nested: bool, context: Context<'a>) -> Verdict {
        if nested {
            let group = entry.group.as_ref().ok_or(ONLY_SERVER)?;
            return self.property_group(group, context);
        }
        let leaf = entry.leaf.as_ref().ok_or(ONLY_SERVER)?;
        Ok(self.filter(leaf, context)? != entry.negated)
    }
}
