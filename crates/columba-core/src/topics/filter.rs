//! A topic filter and who is subscribed to it.

use super::subscriptions::Member;
use super::trie::NodeId;

/// A topic filter that somebody is subscribed to. Most have one subscriber, who is kept in place.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) place: Place,
    audience: Audience,
}

/// Where a filter is found.
#[derive(Debug)]
pub(super) enum Place {
    /// By its text: it has no wildcard.
    Exact(Box<str>),
    Wild(NodeId),
    /// `#` behind a node.
    Below(NodeId),
}

#[derive(Debug)]
enum Audience {
    Nobody,
    One(Member),
    Many(Box<Crowd>),
}

#[derive(Debug, Default)]
struct Crowd {
    members: Vec<Member>,
    /// Numbers of the groups that share the filter.
    groups: Vec<u32>,
}

/// There is one for most subscriptions.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Filter>>() == 40);

impl Filter {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, audience: Audience::Nobody }
    }

    pub(super) const fn is_unused(&self) -> bool {
        matches!(self.audience, Audience::Nobody)
    }

    #[inline]
    pub(super) fn members(&self) -> &[Member] {
        match &self.audience {
            Audience::Nobody => &[],
            Audience::One(member) => std::slice::from_ref(member),
            Audience::Many(crowd) => &crowd.members,
        }
    }

    pub(super) fn members_mut(&mut self) -> &mut [Member] {
        match &mut self.audience {
            Audience::Nobody => &mut [],
            Audience::One(member) => std::slice::from_mut(member),
            Audience::Many(crowd) => &mut crowd.members,
        }
    }

    #[inline]
    pub(super) fn groups(&self) -> &[u32] {
        if let Audience::Many(crowd) = &self.audience { &crowd.groups } else { &[] }
    }

    pub(super) fn add_member(&mut self, member: Member) {
        if self.is_unused() {
            self.audience = Audience::One(member);
        } else {
            self.crowd().members.push(member);
        }
    }

    /// Removes a member; the last takes its place.
    pub(super) fn remove_member(&mut self, position: usize) {
        self.crowd().members.swap_remove(position);
        self.settle();
    }

    pub(super) fn add_group(&mut self, group: u32) {
        self.crowd().groups.push(group);
    }

    pub(super) fn remove_group(&mut self, group: u32) {
        self.crowd().groups.retain(|other| *other != group);
        self.settle();
    }

    fn crowd(&mut self) -> &mut Crowd {
        if !matches!(self.audience, Audience::Many(_)) {
            let crowd = Crowd { members: self.members().to_vec(), groups: Vec::new() };
            self.audience = Audience::Many(Box::new(crowd));
        }
        match &mut self.audience {
            Audience::Many(crowd) => crowd,
            _ => unreachable!("it has just been made so"),
        }
    }

    /// Gives a crowd's memory back where there is none any more.
    fn settle(&mut self) {
        if !self.groups().is_empty() {
            return;
        }
        match *self.members() {
            [] => self.audience = Audience::Nobody,
            [only] => self.audience = Audience::One(only),
            _ => {}
        }
    }
}
