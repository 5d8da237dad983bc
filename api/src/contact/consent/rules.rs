//! What consents are compared by.

use std::collections::HashMap;

use entity::consent::{self, Channel, State};

/// What a statement is about.
pub(super) type About = (String, Channel);

/// The latest statement about each topic and channel.
pub(super) type Standing = HashMap<About, consent::Model>;

pub(super) fn about(row: &consent::Model) -> About {
    (row.topic.clone(), row.channel)
}

/// Which of several statements counts: the one that holds since later, of the same instant the one that was written down later.
pub(super) fn later(a: consent::Model, b: consent::Model) -> consent::Model {
    if (a.at, a.id) < (b.at, b.id) { b } else { a }
}

/// The most restrictive of what several people said about one thing who turned out to be one, if any of them said something.
pub(super) fn most_restrictive<'a>(
    said: impl Iterator<Item = &'a consent::Model>,
) -> Option<&'a consent::Model> {
    said.max_by_key(|row| (restriction(row.state), row.at, row.id))
}

const fn restriction(state: State) -> u8 {
    match state {
        State::Granted => 0,
        State::Pending => 1,
        State::Denied => 2,
        State::Withdrawn => 3,
    }
}

/// How states are called in events.
pub(super) const fn text(state: State) -> &'static str {
    match state {
        State::Granted => "granted",
        State::Pending => "pending",
        State::Denied => "denied",
        State::Withdrawn => "withdrawn",
    }
}

pub(super) const fn channel_text(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Sms => "sms",
        Channel::Push => "push",
        Channel::Whatsapp => "whatsapp",
        Channel::Phone => "phone",
        Channel::Post => "post",
        Channel::InApp => "in_app",
    }
}
